"""Whole sequences of a layer in one autograd function, with the backward pass written by hand.

The equations are those of `policies.equations.neurons`, with potentials counted from rest; `policies.neurons.unroll` over
these equations gives the same spikes and gradients, several times slower.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from policies.surrogate import Surrogate, constant

CHUNK = 2**18
"""Elements of a sequence that are worked on at once: few calls, and all that is made of them stays in the cache."""


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


def spiking(
    current: Tensor, v: Tensor | None, a: Tensor | None, c: Constants, surrogate: Surrogate
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Spikes (T, B, N) and the last potential and adaptation (B, N) under currents (T, B, N).

    :param v: potential (B, N) before the first step; None for neurons at rest
    :param a: adaptation (B, N); None for neurons without
    """
    if c.decay_adapt:
        zeros = torch.zeros_like(current[0]) if v is None or a is None else None
        return _ALIF.apply(current, zeros if v is None else v, zeros if a is None else a, c, surrogate)
    if torch.is_grad_enabled():
        spikes, v = _LIF.apply(current, v, c, surrogate)
    else:
        spikes, v = _steps(current, v, c, [torch.empty_like(current[0])] * current.shape[0])
    return spikes, v, None


def filtered(current: Tensor, start: Tensor | None, decay: float) -> Tensor:
    """y_t = decay * y_(t-1) + current_t for every t: (T, B, N), from y_(-1) = start (B, N), or 0."""
    out: Tensor = _Filter.apply(current, start, decay)
    return out


def _steps(current: Tensor, v: Tensor | None, c: Constants, hs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Spikes and the last potential. Potentials before the reset are left in `hs`, one tensor a step, in units of the gain."""
    v_th = constant(c.v_th / c.gain, current.dtype, current.device)
    s, out = torch.empty_like(current), torch.empty_like(hs[0])
    # Counted in units of the gain the equation is h <- decay * v + current.
    v = v if v is None else v / c.gain
    for xt, ht, st in zip(current.unbind(), hs, s.unbind(), strict=True):
        if v is None:
            ht.copy_(xt)
        else:
            torch.add(xt, v, alpha=c.decay, out=ht)
        torch.gt(ht, v_th, out=st)
        if c.reset == "hard":
            v = torch.addcmul(ht, ht, st, value=-1.0, out=out)
        else:
            v = torch.sub(ht, st, alpha=c.v_th / c.gain, out=out) if c.reset == "soft" else ht
    assert v is not None
    return s, torch.mul(v, c.gain, out=out)


def first_derivative_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse `create_graph=True`. (PyTorch's own `once_differentiable` lets `torch.autograd.grad` pass in silence.)"""

    @functools.wraps(backward)
    def checked(ctx: Any, *grads: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError("Fused neurons have no second derivatives; use neuron_kwargs={'fused': False}.")
        return backward(ctx, *grads)

    return checked


class _LIF(torch.autograd.Function):
    """h_t = current_t + decay * v_(t-1), where v = h * (1 - s), h - jump * s, or h.

    Backwards dL/dh_t = dL/ds_t * slope_t + decay * dL/dh_(t+1) * dv_t/dh_t, and all factors but dL/dh_(t+1) are taken for
    several steps at once.
    """

    @staticmethod
    def forward(ctx: Any, current: Tensor, v: Tensor | None, c: Constants, surrogate: Surrogate) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        h = torch.empty_like(current)
        s, end = _steps(current, v, c, h.unbind())
        ctx.save_for_backward(current, v)
        ctx.c, ctx.surrogate, ctx.h = c, surrogate, h
        return s, end

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor, Tensor | None, None, None]:
        current, v = ctx.saved_tensors
        c = ctx.c
        # Gradients are written over the potentials, as memory of their own would have to be fetched page by page. When the
        # graph is kept for another backward pass, that pass computes the potentials again.
        h, ctx.h = ctx.h, None
        if h is None:
            h = torch.empty_like(current)
            _steps(current, v, c, h.unbind())
        gs = torch.zeros_like(h) if grads[0] is None else grads[0]
        v_th = constant(c.v_th / c.gain, h.dtype, h.device)
        steps = max(1, CHUNK // max(1, h[0].numel()))
        g = grads[1]
        decay = c.decay if g is None else c.gain  # dL/dv_t = decay * g, with v in units of the gain
        for end in range(len(h), 0, -steps):
            part = h[max(0, end - steps) : end]
            slope = ctx.surrogate.derivative(torch.sub(part, v_th), c.gain)
            passed = _passed(part, slope, c)
            torch.mul(gs[max(0, end - steps) : end], slope, out=part)
            for gt, kt in zip(reversed(part.unbind()), reversed(passed.unbind()), strict=True):
                if g is not None:
                    torch.addcmul(gt, g, kt, value=decay, out=gt)
                    decay = c.decay
                g = gt
        assert g is not None
        return h, g * (c.decay / c.gain) if ctx.needs_input_grad[1] else None, None, None


def _passed(h: Tensor, slope: Tensor, c: Constants) -> Tensor:
    """dv/dh: how much of a gradient passes the reset."""
    jump = 0.0 if c.detach_reset or c.reset == "none" else c.v_th / c.gain
    if c.reset != "hard":
        return torch.add(constant(1.0, h.dtype, h.device), slope, alpha=-jump)
    silent = torch.le(h, constant(c.v_th / c.gain, h.dtype, h.device), out=torch.empty_like(h))
    return silent if c.detach_reset else silent.addcmul_(h, slope, value=-1.0)


def _charge(v: Tensor, current: Tensor, c: Constants, out: Tensor) -> Tensor:
    """h = decay * v + gain * current."""
    return torch.add(v * c.decay, current, alpha=c.gain, out=out)


def _reset(h: Tensor, s: Tensor, c: Constants) -> Tensor:
    if c.reset == "hard":
        return torch.addcmul(h, h, s, value=-1.0)
    return torch.sub(h, s, alpha=c.v_th) if c.reset == "soft" else h


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
    @first_derivative_only
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
            gu = q.mul_(surrogate.derivative(u[t].clone()))
            gh = torch.addcmul(gv, gv, s[t], value=-1.0).add_(gu) if c.reset == "hard" else gv + gu
            ga = torch.sub(ga * c.decay_adapt, gu, alpha=c.beta)
            torch.mul(gh, c.gain, out=out[t])
            gv = gh.mul_(c.decay)
        return out, gv, ga, None, None


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, start: Tensor | None, decay: float) -> Tensor:
        out = torch.empty_like(current)
        ctx.decay, ctx.started = decay, start is not None
        y = start
        for x, o in zip(current.unbind(), out.unbind(), strict=True):
            y = o.copy_(x) if y is None else torch.add(x, y, alpha=decay, out=o)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        if torch.is_grad_enabled():  # the same, differentiable once more
            filtered_back = filtered(grads[0].flip(0), None, ctx.decay).flip(0)
            return filtered_back, filtered_back[0] * ctx.decay if ctx.started else None, None
        out = torch.empty_like(grads[0])
        g: Tensor | None = None
        for x, o in zip(reversed(grads[0].unbind()), reversed(out.unbind()), strict=True):
            g = o.copy_(x) if g is None else torch.add(x, g, alpha=ctx.decay, out=o)
        return out, g * ctx.decay if ctx.started and g is not None else None, None
