"""Recurrent layers of spiking neurons for torch, with time constants learned neuron by neuron.

Sequences are time first, (T, B, N). A layer gets its own spikes of the step before through a matrix of weights. Whole
sequences go through one autograd function with a backward pass written by hand where there is one; `fused=False` gives the
plain loop over the equations, with the same spikes and gradients.
"""

from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from policies.equations import neurons as equations
from policies.fused import first_derivative_only
from policies.surrogate import Surrogate, constant

State = tuple[Tensor, ...]


class RecurrentLayer(nn.Module):
    """`size` neurons that see `inputs` numbers and, with `recurrent`, each other's last spikes.

    Input weights are Xavier-uniform, recurrent ones orthogonal, biases 0. Time constants are in steps; `project` brings
    what learning moved out of range back into it (call it after every step of the optimiser).

    :param inputs: size of the input
    :param size: neurons N
    :param surrogate: a name of `policies.surrogate.SURROGATES`
    :param surrogate_width: its width (default: its own)
    :param recurrent: whether the layer sees its own spikes
    :param fused: use the autograd function written by hand
    """

    ranges: dict[str, tuple[float, float]]
    """Smallest and largest value of each parameter that every neuron has for itself."""

    def __init__(
        self,
        inputs: int,
        size: int,
        surrogate: str = "multi_gaussian",
        surrogate_width: float | None = None,
        recurrent: bool = True,
        fused: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("inputs", inputs), ("size", size)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1.")
        self.size = size
        self.input = nn.Linear(inputs, size)
        nn.init.xavier_uniform_(self.input.weight)
        nn.init.zeros_(self.input.bias)
        self.recurrent = nn.Linear(size, size) if recurrent else None
        if self.recurrent is not None:
            nn.init.orthogonal_(self.recurrent.weight)
            nn.init.zeros_(self.recurrent.bias)
        self.surrogate = Surrogate(surrogate, surrogate_width)
        self.fused = fused

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Spikes (T, B, N), floats 0 or 1, under inputs (T, B, inputs), and the state after the last step."""
        current = self.input(x)
        state = self.rest(current[0]) if state is None else state
        if self.fused:
            if self.recurrent is not None:
                current = current + self.recurrent.bias
            return self.fused_sequence(current, None if self.recurrent is None else self.recurrent.weight, state)
        spikes = []
        for now in current:
            state = self.step(now if self.recurrent is None else now + self.recurrent(state[-1]), state)
            spikes.append(state[-1])
        return torch.stack(spikes), state

    def rest(self, like: Tensor) -> State:
        """The state at rest for currents (B, N): three tensors of that shape, the last of which are the spikes."""
        return tuple(torch.zeros_like(like) for _ in range(3))

    def step(self, current: Tensor, state: State) -> State:
        """The state one step later."""
        raise NotImplementedError

    def fused_sequence(self, current: Tensor, weight: Tensor | None, state: State) -> tuple[Tensor, State]:
        """Spikes and the last state of a whole sequence of currents, the recurrent bias among them."""
        raise NotImplementedError

    @torch.no_grad()
    def project(self) -> None:
        """Bring the neurons' own parameters back into their ranges."""
        for name, (low, high) in self.ranges.items():
            self.get_parameter(name).clamp_(low, high)

    def decays(self) -> tuple[Tensor, Tensor]:
        """What remains of the potential and of the adaptation after a step, (N,) each."""
        return torch.exp(-1.0 / self.get_parameter("tau_mem")), torch.exp(-1.0 / self.get_parameter("tau_adapt"))


class ThresholdALIFLayer(RecurrentLayer):
    """Neurons with an adaptive threshold (`equations.threshold_alif`); tau_mem ~ N(20, 5) and tau_adapt ~ N(150, 10) steps.

    State: potential, adaptation, spikes. The published code starts from random potentials, at evaluation too; here all
    start from 0, so that the same input gives the same answer.
    """

    ranges = {"tau_mem": (1.0, 1e4), "tau_adapt": (1.0, 1e4)}

    def __init__(self, inputs: int, size: int, beta: float = 1.8, v_th: float = 0.01, **kwargs: Any) -> None:
        super().__init__(inputs, size, **kwargs)
        self.beta, self.v_th = beta, v_th
        self.tau_mem = nn.Parameter(20.0 + 5.0 * torch.randn(size))
        self.tau_adapt = nn.Parameter(150.0 + 10.0 * torch.randn(size))
        self.project()

    def step(self, current: Tensor, state: State) -> State:
        decay_mem, decay_adapt = self.decays()
        c = SimpleNamespace(decay_mem=decay_mem, decay_adapt=decay_adapt, beta=self.beta, v_th=self.v_th)
        return equations.threshold_alif(equations.ThresholdALIFState(*state), current, c, self.surrogate)[0]

    def fused_sequence(self, current: Tensor, weight: Tensor | None, state: State) -> tuple[Tensor, State]:
        c = _ThresholdConstants(self.beta, self.v_th, self.surrogate)
        spikes, *last = _ThresholdALIF.apply(current, weight, *self.decays(), *state, c)
        return spikes, (*last, spikes[-1])


class AdLIFLayer(RecurrentLayer):
    """Neurons with an adaptation current (`equations.se_adlif`).

    Starting values are uniform: tau_mem in 5 to 25 steps, tau_adapt in 60 to 300, `a` in 0 to 1 and `b` in 0 to 2, both times
    120, about the time constant of the adaptation, whose filter is normalised; learning keeps them there. State: potential,
    adaptation, spikes.
    """

    ranges = {"tau_mem": (5.0, 25.0), "tau_adapt": (60.0, 300.0), "a": (0.0, 1.0), "b": (0.0, 2.0)}
    scale = 120.0

    def __init__(self, inputs: int, size: int, v_th: float = 1.0, surrogate: str = "fast_sigmoid", **kwargs: Any) -> None:
        super().__init__(inputs, size, surrogate, **kwargs)
        self.v_th = v_th
        for name, (low, high) in self.ranges.items():
            self.register_parameter(name, nn.Parameter(low + (high - low) * torch.rand(size)))

    def step(self, current: Tensor, state: State) -> State:
        decay_mem, decay_adapt = self.decays()
        a, b = self._couplings()
        c = SimpleNamespace(decay_mem=decay_mem, decay_adapt=decay_adapt, a=a, b=b, v_th=self.v_th)
        (v, w), s = equations.se_adlif(equations.AdLIFState(*state[:2]), current, c, self.surrogate)
        return v, w, s

    def fused_sequence(self, current: Tensor, weight: Tensor | None, state: State) -> tuple[Tensor, State]:
        spikes, *last = _AdLIF.apply(current, weight, *self.decays(), *self._couplings(), *state, self.v_th, self.surrogate)
        return spikes, (*last, spikes[-1])

    def _couplings(self) -> tuple[Tensor, Tensor]:
        return self.scale * self.get_parameter("a"), self.scale * self.get_parameter("b")


class LeakyReadout(nn.Module):
    """Leaky integrators that never fire: v <- decay v + (1 - decay) (W s + bias), with a decay exp(-1 / tau_mem) each."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, size)
        nn.init.xavier_uniform_(self.input.weight)
        nn.init.zeros_(self.input.bias)
        self.tau_mem = nn.Parameter(20.0 + 5.0 * torch.randn(size))
        self.project()

    def forward(self, spikes: Tensor) -> Tensor:
        """Potentials (T, B, size) under spikes (T, B, inputs), from 0."""
        return leaky(self.input(spikes), torch.exp(-1.0 / self.tau_mem))

    @torch.no_grad()
    def project(self) -> None:
        """Keep the time constants at one step or more."""
        self.tau_mem.clamp_(1.0, 1e4)


def leaky(current: Tensor, decay: Tensor) -> Tensor:
    """v_t = decay v_(t-1) + (1 - decay) current_t from v = 0, for currents (T, B, N) and decays (N,), as one product."""
    steps = torch.arange(current.shape[0], device=current.device)
    lag = (steps[:, None] - steps[None, :]).clamp(min=0)
    kernel = torch.tril((decay[:, None, None] ** lag) * (1.0 - decay)[:, None, None])  # (N, T, T)
    return torch.bmm(kernel, current.permute(2, 0, 1)).permute(1, 2, 0)


class _ThresholdConstants(NamedTuple):
    beta: float
    v_th: float
    surrogate: Surrogate


class _ThresholdALIF(torch.autograd.Function):
    """`equations.threshold_alif` over a sequence, the layer's spikes fed back by `weight` (N, N) or not (None).

    Everything is done step by step in memory that stays in the processor's cache; tensors as long as the sequence would not.
    """

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        weight: Tensor | None,
        alpha: Tensor,
        rho: Tensor,
        v: Tensor,
        a: Tensor,
        s: Tensor,
        c: _ThresholdConstants,
    ) -> tuple[Tensor, Tensor, Tensor]:
        start = (v, a, s)
        v_th = constant(c.v_th, current.dtype, current.device)
        out, potentials, adapted = (torch.empty_like(current) for _ in range(3))
        theta, driven = torch.empty_like(v), torch.empty_like(v)
        steps = zip(current.unbind(), potentials.unbind(), adapted.unbind(), out.unbind(), strict=True)
        for x, vt, at, z in steps:
            torch.lerp(s, a, rho, out=at)
            torch.add(v_th, at, alpha=c.beta, out=theta)
            if weight is not None:
                x = torch.addmm(x, s, weight.T, out=driven)
            torch.lerp(x, v, alpha, out=vt).addcmul_(theta, s, value=-1.0)
            torch.gt(vt, theta, out=z)
            v, a, s = vt, at, z
        ctx.save_for_backward(weight, alpha, rho, potentials, adapted, out, *start)
        ctx.c = c
        return out, v.clone(), a.clone()

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, alpha, rho, potentials, adapted, out, v0, a0, s0 = ctx.saved_tensors
        c = ctx.c
        v_th = constant(c.v_th, out.dtype, out.device)
        gain = 1.0 - alpha
        g_current = torch.empty_like(out)
        gz, gi = grads[0].unbind(), g_current.unbind()
        vs, adaptations, z = potentials.unbind(), adapted.unbind(), out.unbind()
        theta, u, g, gu, gv_t, ga_t = (torch.empty_like(v0) for _ in range(6))
        gv, ga = grads[1].clone(), grads[2].clone()
        g_alpha, g_rho, from_next = torch.zeros_like(v0), torch.zeros_like(v0), torch.zeros_like(v0)
        for t in range(len(vs) - 1, -1, -1):
            v, a, s = (vs[t - 1], adaptations[t - 1], z[t - 1]) if t else (v0, a0, s0)
            torch.add(v_th, adaptations[t], alpha=c.beta, out=theta)
            slope = c.surrogate.derivative(torch.sub(vs[t], theta, out=u))
            torch.add(gz[t], from_next, out=g)
            torch.mul(g, slope, out=gu)
            torch.add(gv, gu, out=gv_t)
            torch.add(ga, torch.addcmul(gu, gv_t, s, out=g), alpha=-c.beta, out=ga_t)
            torch.mul(gv_t, gain, out=gi[t])
            # Spikes reach the next step through its adaptation, its reset and the weights.
            torch.addcmul(ga_t, ga_t, rho, value=-1.0, out=from_next).addcmul_(gv_t, theta, value=-1.0)
            if weight is not None:
                from_next.addmm_(gi[t], weight)
            # v - driven = (v - v_t - theta s) / (1 - alpha), from the equation of v_t
            g_alpha.addcmul_(gv_t, torch.sub(v, vs[t], out=g).addcmul_(theta, s, value=-1.0))
            g_rho.addcmul_(ga_t, torch.sub(a, s, out=g))
            torch.mul(gv_t, alpha, out=gv)
            torch.mul(ga_t, rho, out=ga)
        g_weight = None
        if weight is not None:
            g_weight = g_current[1:].flatten(0, 1).T @ out[:-1].flatten(0, 1) + gi[0].T @ s0
        return g_current, g_weight, g_alpha.sum(dim=0) / gain, g_rho.sum(dim=0), gv, ga, from_next, None


class _AdLIF(torch.autograd.Function):
    """`equations.se_adlif` over a sequence, the layer's spikes fed back by `weight` (N, N) or not (None)."""

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
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
        start = (v, w, s)
        gain, left = 1.0 - alpha, 1.0 - rho
        pushed, hs, ws, out = (torch.empty_like(current) for _ in range(4))
        torch.mul(current, gain, out=pushed)
        feedback = None if weight is None else (weight * gain[:, None]).T.contiguous()
        threshold = constant(v_th, current.dtype, current.device)
        ga, gb = a * left, b * left
        for push, h, wt, z in zip(pushed.unbind(), hs.unbind(), ws.unbind(), out.unbind(), strict=True):
            if feedback is not None:
                push = torch.addmm(push, s, feedback)
            torch.addcmul(push, v, alpha, out=h).addcmul_(w, gain, value=-1.0)
            torch.gt(h, threshold, out=z)
            v = torch.addcmul(h, h, z, value=-1.0)
            torch.mul(w, rho, out=wt).addcmul_(v, ga).addcmul_(z, gb)
            w, s = wt, z
        ctx.save_for_backward(current, weight, alpha, rho, a, b, hs, ws, out, *start)
        ctx.v_th, ctx.surrogate = v_th, surrogate
        return out, v, w.clone()

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        current, weight, alpha, rho, a, b, hs, ws, out, v0, w0, s0 = ctx.saved_tensors
        slopes = ctx.surrogate.derivative(hs - ctx.v_th)
        gain, left = 1.0 - alpha, 1.0 - rho
        ga, gb = a * left, b * left
        feedback = None if weight is None else weight * gain[:, None]
        ghs, gws = torch.empty_like(out), torch.empty_like(out)
        gz, gv, gw = grads[0].unbind(), grads[1], grads[2]
        from_next: Tensor | None = None
        slope, h, z = slopes.unbind(), hs.unbind(), out.unbind()
        for t in range(out.shape[0] - 1, -1, -1):
            gws[t].copy_(gw)
            gv = torch.addcmul(gv, gw, ga)
            g = torch.addcmul(gz[t], gw, gb).addcmul_(gv, h[t], value=-1.0)
            if from_next is not None:
                g += from_next
            gh = torch.addcmul(gv, gv, z[t], value=-1.0, out=ghs[t]).addcmul_(g, slope[t])
            from_next = None if feedback is None else gh @ feedback
            gw = torch.addcmul(gw * rho, gh, gain, value=-1.0)
            gv = gh * alpha
        before = torch.cat([s0[None], out[:-1]])
        v = torch.cat([v0[None], (hs - hs * out)])
        w = torch.cat([w0[None], ws[:-1]])
        pushed = ghs * gain
        g_weight = None if weight is None else pushed.flatten(0, 1).T @ before.flatten(0, 1)
        whole = current if weight is None else current + before @ weight.T

        def total(x: Tensor, y: Tensor) -> Tensor:
            return (x * y).sum(dim=(0, 1))

        g_alpha = total(ghs, v[:-1] - whole + w)
        g_rho = total(gws, w - a * v[1:] - b * out)
        g_a, g_b = left * total(gws, v[1:]), left * total(gws, out)
        return pushed, g_weight, g_alpha, g_rho, g_a, g_b, gv, gw, from_next, None, None
