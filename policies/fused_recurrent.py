"""Whole sequences of the recurrent layers in one autograd function each, with the backward pass written by hand.

The equations are those of `policies.equations.neurons`, with currents and recurrent weights that come times 1 - alpha: no
step has to multiply with it, and autograd has its gradient from where that was done. There are as few tensors as long as the
sequence as can be, since fresh memory costs as much time as the arithmetic on it.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from policies.events import weight_gradient
from policies.fused import first_derivative_only
from policies.surrogate import Surrogate, constant

CHUNK = 8  # steps whose slopes are computed at once


class ThresholdConstants(NamedTuple):
    """theta = v_th + beta * adaptation."""

    beta: float
    v_th: float
    surrogate: Surrogate


class ThresholdALIF(torch.autograd.Function):
    """`equations.threshold_alif` over a sequence, the layer's spikes fed back by `weight` (N, N) or not (None).

    Takes drive (T, B, N), which potentials overwrite, weight, decays alpha and rho (N,), and potential, adaptation and spikes
    (B, N) before the first step; gives spikes (T, B, N), and potential and adaptation after the last.
    """

    @staticmethod
    def forward(
        ctx: Any,
        drive: Tensor,
        weight: Tensor | None,
        alpha: Tensor,
        rho: Tensor,
        v: Tensor,
        a: Tensor,
        s: Tensor,
        c: ThresholdConstants,
    ) -> tuple[Tensor, Tensor, Tensor]:
        v_th = constant(c.v_th, drive.dtype, drive.device)
        start, spikes = v, _after(s, len(drive))
        kept = a.new_empty(-(-len(drive) // CHUNK), *a.shape)  # the adaptation before each chunk
        theta, a = torch.empty_like(a), a.clone()
        for t, (vt, st) in enumerate(zip(drive.unbind(), spikes.unbind()[1:], strict=True)):
            if t % CHUNK == 0:
                kept[t // CHUNK] = a
            torch.lerp(s, a, rho, out=a)
            torch.add(v_th, a, alpha=c.beta, out=theta)
            if weight is not None:
                vt.addmm_(s, weight.T)
            vt.addcmul_(v, alpha).addcmul_(theta, s, value=-1.0)
            torch.gt(vt, theta, out=st)
            v, s = vt, st
        ctx.save_for_backward(weight, alpha, rho, start, drive, kept, spikes)
        ctx.c = c
        return spikes[1:], v.clone(), a

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, alpha, rho, v0, potentials, kept, spikes = ctx.saved_tensors
        c, last, zeros = ctx.c, len(potentials), torch.zeros_like(v0)
        v_th = constant(c.v_th, v0.dtype, v0.device)
        # Index t is before step t: potentials, spikes, and the gradient that reaches those from outside the layer.
        vs, ss, outside = (v0, *potentials.unbind()), spikes.unbind(), (zeros, *grads[0].unbind())
        g_drive = torch.empty_like(potentials)
        gvs, adapted = g_drive.unbind(), v0.new_empty(CHUNK + 1, *v0.shape)
        adaptations = adapted.unbind()
        gv, ga, g = grads[1], grads[2].clone(), outside[last].clone()
        decay_mem, decay_adapt, left = torch.ones_like(alpha), torch.ones_like(rho), 1.0 - rho
        g_alpha, g_rho = torch.zeros_like(v0), torch.zeros_like(v0)
        for start, first in reversed(list(zip(range(0, last, CHUNK), kept.unbind(), strict=True))):
            size = min(CHUNK, last - start)
            adaptations[0].copy_(first)
            for i in range(size):
                torch.lerp(ss[start + i], adaptations[i], rho, out=adaptations[i + 1])
            thetas = torch.add(v_th, adapted[1 : size + 1], alpha=c.beta)
            slopes = c.surrogate.derivative(potentials[start : start + size] - thetas).unbind()
            for i, theta in reversed(list(enumerate(thetas.unbind()))):
                t = start + i
                gu = g.mul_(slopes[i])
                gv = torch.addcmul(gu, gv, decay_mem, out=gvs[t])
                ga.mul_(decay_adapt).add_(gu, alpha=-c.beta).addcmul_(gv, ss[t], value=-c.beta)
                g_alpha.addcmul_(gv, vs[t])
                g_rho.addcmul_(ga, adaptations[i]).addcmul_(ga, ss[t], value=-1.0)
                # Spikes reach the next step through its adaptation, its reset and the weights.
                torch.addcmul(outside[t], ga, left, out=g).addcmul_(gv, theta, value=-1.0)
                if weight is not None:
                    g.addmm_(gv, weight)
                decay_mem, decay_adapt = alpha, rho
        g_weight = None if weight is None else weight_gradient(g_drive.flatten(0, 1), spikes[:-1].flatten(0, 1))
        return g_drive, g_weight, g_alpha.sum(dim=0), g_rho.sum(dim=0), gv * decay_mem, ga * decay_adapt, g, None


class AdLIF(torch.autograd.Function):
    """`equations.se_adlif` over a sequence, the layer's spikes fed back by `weight` (N, N) or not (None).

    Takes drive (T, B, N), which potentials before the reset overwrite, weight, decays alpha and rho and couplings a and b
    (N,), and potential, adaptation and spikes (B, N) before the first step; gives spikes (T, B, N), and potential and
    adaptation after the last.
    """

    @staticmethod
    def forward(
        ctx: Any,
        drive: Tensor,
        weight: Tensor | None,
        alpha: Tensor,
        rho: Tensor,
        a: Tensor,
        b: Tensor,
        v: Tensor,
        w: Tensor,
        s: Tensor,
        v_th: float,
        surrogate: Surrogate,
    ) -> tuple[Tensor, Tensor, Tensor]:
        start = v
        gain, left = 1.0 - alpha, 1.0 - rho
        adapted, spikes = _after(w, len(drive)), _after(s, len(drive))
        threshold = constant(v_th, drive.dtype, drive.device)
        ga, gb = a * left, b * left
        for h, wt, st in zip(drive.unbind(), adapted.unbind()[1:], spikes.unbind()[1:], strict=True):
            if weight is not None:
                h.addmm_(s, weight.T)
            h.addcmul_(v, alpha).addcmul_(w, gain, value=-1.0)
            torch.gt(h, threshold, out=st)
            v = torch.addcmul(h, h, st, value=-1.0)
            torch.mul(w, rho, out=wt).addcmul_(v, ga).addcmul_(st, gb)
            w, s = wt, st
        ctx.save_for_backward(weight, alpha, rho, a, b, drive, adapted, spikes, start)
        ctx.v_th, ctx.surrogate = v_th, surrogate
        return spikes[1:], v, w.clone()

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, alpha, rho, a, b, hs, adapted, spikes, start = ctx.saved_tensors
        out, w = spikes[1:], adapted[:-1]
        slope = ctx.surrogate.derivative(hs - ctx.v_th).unbind()
        gain, left = 1.0 - alpha, 1.0 - rho
        ga, gb = a * left, b * left
        ghs, gws = torch.empty_like(hs), torch.empty_like(hs)
        gz, gv, gw = grads[0].unbind(), grads[1], grads[2]
        g, h, z = torch.zeros_like(gv), hs.unbind(), out.unbind()
        for t in range(len(hs) - 1, -1, -1):
            gws[t].copy_(gw)
            gv = torch.addcmul(gv, gw, ga)
            g.add_(gz[t]).addcmul_(gw, gb).addcmul_(gv, h[t], value=-1.0)
            gh = torch.addcmul(gv, gv, z[t], value=-1.0, out=ghs[t]).addcmul_(g, slope[t])
            g = g.zero_() if weight is None else torch.mm(gh, weight, out=g)
            gw = torch.addcmul(gw * rho, gh, gain, value=-1.0)
            gv = gh * alpha
        v = torch.cat([start[None], hs - hs * out])
        g_weight = None if weight is None else weight_gradient(ghs.flatten(0, 1), spikes[:-1].flatten(0, 1))

        def total(x: Tensor, y: Tensor) -> Tensor:
            return (x * y).sum(dim=(0, 1))

        g_alpha, g_rho = total(ghs, v[:-1] + w), total(gws, w - a * v[1:] - b * out)
        g_a, g_b = left * total(gws, v[1:]), left * total(gws, out)
        return ghs, g_weight, g_alpha, g_rho, g_a, g_b, gv, gw, g, None, None


class Leaky(torch.autograd.Function):
    """v_t = decay v_(t-1) + drive_t from v = 0, for drives (T, B, N) and decays (N,)."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, decay: Tensor) -> Tensor:
        potentials = torch.empty_like(drive)
        v = torch.zeros_like(drive[0])
        for x, vt in zip(drive.unbind(), potentials.unbind(), strict=True):
            v = torch.addcmul(x, v, decay, out=vt)
        ctx.save_for_backward(potentials, decay)
        return potentials

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        potentials, decay = ctx.saved_tensors
        g: Tensor = Leaky.apply(grads[0].flip(0), decay).flip(0)
        return g, (g[1:] * potentials[:-1]).sum(dim=(0, 1))


def _after(start: Tensor, steps: int) -> Tensor:
    """Room for a state before the first step, which is filled in, and after each: (T + 1, B, N)."""
    states = start.new_empty(steps + 1, *start.shape)
    states[0] = start
    return states
