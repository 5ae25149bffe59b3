"""Recurrent layers of spiking neurons for torch, with time constants learned neuron by neuron.

Sequences are time first, (T, B, N). A layer gets its own spikes of the step before through a matrix of weights. Whole
sequences go through one autograd function with a backward pass written by hand where there is one; `fused=False` gives the
plain loop over the equations, with the same spikes and gradients.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from policies.equations import neurons as equations
from policies.events import weighted
from policies.fused_recurrent import AdLIF, Leaky, ThresholdALIF, ThresholdConstants
from policies.surrogate import Surrogate

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
        """Spikes (T, B, N), floats 0 or 1, under inputs (T, B, inputs), and the state after the last step.

        Inputs may be counts of spikes in bytes (uint8); the fewer there are, the less time they take.
        """
        weight = self.input.weight
        if state is None:
            state = self.rest(weight.new_empty(x.shape[1], self.size))
        if self.fused:
            decays = self.decays()
            gain = 1.0 - decays[0]
            bias, feedback = gain * self.input.bias, None
            if self.recurrent is not None:
                bias, feedback = bias + gain * self.recurrent.bias, gain[:, None] * self.recurrent.weight
            # Mixed precision gives half precision here, in which potentials would hardly move.
            drive = weighted(x, gain[:, None] * weight, bias).to(weight.dtype)
            return self.fused_sequence(drive, feedback, decays, state)
        spikes = []
        for now in weighted(x, weight, self.input.bias):
            state = self.step(now if self.recurrent is None else now + self.recurrent(state[-1]), state)
            spikes.append(state[-1])
        return torch.stack(spikes), state

    def rest(self, like: Tensor) -> State:
        """The state at rest for currents (B, N): three tensors of that shape, the last of which are the spikes."""
        return tuple(torch.zeros_like(like) for _ in range(3))

    def step(self, current: Tensor, state: State) -> State:
        """The state one step later."""
        raise NotImplementedError

    def fused_sequence(
        self, drive: Tensor, weight: Tensor | None, decays: tuple[Tensor, Tensor], state: State
    ) -> tuple[Tensor, State]:
        """Spikes and the last state of a whole sequence; currents and recurrent weights come times 1 - decays[0]."""
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

    def fused_sequence(
        self, drive: Tensor, weight: Tensor | None, decays: tuple[Tensor, Tensor], state: State
    ) -> tuple[Tensor, State]:
        c = ThresholdConstants(self.beta, self.v_th, self.surrogate)
        spikes, *last = ThresholdALIF.apply(drive, weight, *decays, *state, c)
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

    def fused_sequence(
        self, drive: Tensor, weight: Tensor | None, decays: tuple[Tensor, Tensor], state: State
    ) -> tuple[Tensor, State]:
        spikes, *last = AdLIF.apply(drive, weight, *decays, *self._couplings(), *state, self.v_th, self.surrogate)
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
    """v_t = decay v_(t-1) + (1 - decay) current_t from v = 0, for currents (T, B, N) and decays (N,)."""
    potentials: Tensor = Leaky.apply((1.0 - decay) * current, decay)
    return potentials
