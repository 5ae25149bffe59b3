"""Whole sequences of a layer in one autograd function, with the backward pass written by hand.

The equations are those of `policies.equations.neurons`, with potentials counted from rest; `policies.neurons.unroll` over
these equations gives the same spikes and gradients, several times slower.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from policies.surrogate import Surrogate


@dataclass(frozen=True)
class Constants:
    """v <- decay * v + gain * current; fires above v_th + beta * a; a <- decay_adapt * a + (1 - decay_adapt) * s."""

    decay: float
    gain: float
    v_th: float
    reset: str
    detach_reset: bool
    beta: float = 0.0
    decay_adapt: float = 0.0


def spiking(current: Tensor, v: Tensor, a: Tensor | None, c: Constants, surrogate: Surrogate) -> tuple[Tensor, Tensor, Any]:
    """Spikes (T, B, N) and the last potential and adaptation (B, N) under currents (T, B, N).

    :param a: adaptation (B, N), None for neurons without
    """
    if a is None:
        spikes, v = _LIF.apply(current, v, c, surrogate)
        return spikes, v, None
    spikes, v, a = _ALIF.apply(current, v, a, c, surrogate)
    return spikes, v, a


def filtered(current: Tensor, start: Tensor, decay: float) -> Tensor:
    """y_t = decay * y_(t-1) + current_t for every t: (T, B, N), from y_(-1) = start (B, N)."""
    out: Tensor = _Filter.apply(current, start, decay)
    return out


def _reset(h: Tensor, s: Tensor, c: Constants) -> Tensor:
    if c.reset == "hard":
        return torch.addcmul(h, h, s, value=-1.0)
    return torch.sub(h, s, alpha=c.v_th) if c.reset == "soft" else h


def _charge(v: Tensor, current: Tensor, c: Constants, out: Tensor) -> Tensor:
    """h = decay * v + gain * current."""
    if c.gain == 1.0:
        return torch.add(current, v, alpha=c.decay, out=out)
    if abs(c.gain + c.decay - 1.0) < 1e-12:
        return torch.lerp(v, current, c.gain, out=out)
    return torch.add(v * c.decay, current, alpha=c.gain, out=out)


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, v: Tensor, c: Constants, surrogate: Surrogate) -> tuple[Tensor, Tensor]:
        h, s = torch.empty_like(current), torch.empty_like(current)
        for t in range(current.shape[0]):
            _charge(v, current[t], c, h[t])
            torch.gt(h[t], c.v_th, out=s[t])
            v = _reset(h[t], s[t], c)
        ctx.save_for_backward(h, s)
        ctx.c, ctx.surrogate = c, surrogate
        return s, v.clone() if c.reset == "none" else v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        h, s = ctx.saved_tensors
        c, surrogate, (gs, gv) = ctx.c, ctx.surrogate, grads
        # Below, `out[t]` is gain * dL/dh_t, so that it is the gradient of the current as it stands.
        out = torch.empty_like(h)
        back = c.decay / c.gain
        g, carried = gv, c.gain  # dL/dv_t = carried * g / gain
        for t in range(h.shape[0] - 1, -1, -1):
            slope = surrogate.derivative(h[t] - c.v_th, c.gain)
            if c.detach_reset or c.reset == "none":
                q = gs[t]
            elif c.reset == "hard":
                q = torch.addcmul(gs[t], g, h[t], value=-carried / c.gain)
            else:
                q = torch.add(gs[t], g, alpha=-c.v_th * carried / c.gain)
            kept = torch.addcmul(g, g, s[t], value=-1.0).mul_(carried) if c.reset == "hard" else g * carried
            g = torch.addcmul(kept, slope, q, out=out[t])
            carried = c.decay
        return out, g * back, None, None


class _ALIF(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, v: Tensor, a: Tensor, c: Constants, surrogate: Surrogate
    ) -> tuple[Tensor, Tensor, Tensor]:
        h, s, u = (torch.empty_like(current) for _ in range(3))
        for t in range(current.shape[0]):
            _charge(v, current[t], c, h[t])
            torch.sub(h[t], a, alpha=c.beta, out=u[t]).sub_(c.v_th)
            torch.gt(u[t], 0.0, out=s[t])
            v = _reset(h[t], s[t], c)
            a = torch.lerp(s[t], a, c.decay_adapt)
        ctx.save_for_backward(h, s, u)
        ctx.c, ctx.surrogate = c, surrogate
        return s, v.clone() if c.reset == "none" else v, a

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        h, s, u = ctx.saved_tensors
        c, surrogate, (gs, gv, ga) = ctx.c, ctx.surrogate, grads
        out = torch.empty_like(h)
        for t in range(h.shape[0] - 1, -1, -1):
            q = torch.add(gs[t], ga, alpha=1.0 - c.decay_adapt)
            if not c.detach_reset and c.reset == "hard":
                q.addcmul_(gv, h[t], value=-1.0)
            elif not c.detach_reset and c.reset == "soft":
                q.sub_(gv, alpha=c.v_th)
            gu = q.mul_(surrogate.derivative(u[t]))
            gh = torch.addcmul(gv, gv, s[t], value=-1.0).add_(gu) if c.reset == "hard" else gv + gu
            ga = torch.sub(ga * c.decay_adapt, gu, alpha=c.beta)
            torch.mul(gh, c.gain, out=out[t])
            gv = gh.mul_(c.decay)
        return out, gv, ga, None, None


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, start: Tensor, decay: float) -> Tensor:
        out = torch.empty_like(current)
        ctx.decay = decay
        y = start
        for t in range(current.shape[0]):
            y = torch.add(current[t], y, alpha=decay, out=out[t])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (grad,) = grads
        out = torch.empty_like(grad)
        g = torch.zeros_like(grad[0])
        for t in range(grad.shape[0] - 1, -1, -1):
            g = torch.add(grad[t], g, alpha=ctx.decay, out=out[t])
        return out, g * ctx.decay, None
