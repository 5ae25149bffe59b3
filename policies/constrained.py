"""A reservoir of excitatory and inhibitory spiking neurons with the wiring of a cortical circuit, for torch."""

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from policies.equations.neurons import hard_reset, leaky_integrator
from policies.events import weighted
from policies.names import choose, nearest
from policies.surrogate import Surrogate


class Population(NamedTuple):
    """A kind of neuron: its share of the network, what remains of its potential after a step, and its sign."""

    share: float
    leak: float
    sign: int


@dataclass(frozen=True)
class Wiring:
    """Populations by name, and how probable a connection is from each (row) to each (column)."""

    populations: dict[str, Population]
    probabilities: tuple[tuple[float, ...], ...]


WIRINGS = {
    "cortex": Wiring(
        {
            "E": Population(0.85, 0.85, 1),
            "PV": Population(0.06, 0.7, -1),
            "Sst": Population(0.045, 0.3, -1),
            "Htr": Population(0.045, 0.6, -1),
        },
        (
            (0.16, 0.395, 0.182, 0.105),
            (0.411, 0.451, 0.03, 0.22),
            (0.424, 0.857, 0.082, 0.77),
            (0.087, 0.02, 0.0625, 0.028),
        ),
    ),
    "balanced": Wiring(
        {"E": Population(0.8, 0.85, 1), "I": Population(0.2, 0.85, -1)},
        ((0.16, 0.205), (0.252, 0.284)),
    ),
}
"""The wirings of the published robot network and of its network for spoken digits."""

FREEZABLE = ("input", "recurrent", "output")
DENSITY = 0.16  # of the input and output connections
LOG_MEAN, LOG_SD = -0.64, 0.51  # of the magnitudes
INHIBITION = 10.0  # how much stronger inhibitory connections are
REGROWN = 1e-3  # magnitude of a connection at a new place
_REST = SimpleNamespace(v_rest=0.0)


class ConstrainedState(NamedTuple):
    """Potential, spikes and refractory steps that are left, of the shape (B, N)."""

    v: Tensor
    s: Tensor
    left: Tensor


class ConstrainedRSNN(nn.Module):
    """Input -> sparse recurrent network whose neurons keep their sign (Dale's law) -> weighted sum of the spikes.

        v <- leak * v + W_in x + W z + b          nothing reaches a neuron in its refractory steps
        z =  spike(v - 1),  v <- 0 where z        y <- decay y + W_out z + c

    Connections exist with the probabilities of the wiring; their magnitudes are lognormal (mean -0.64, s.d. 0.51 of the
    logarithm), inhibitory ones ten times as strong, and all recurrent ones are then scaled so that the largest eigenvalue has
    the magnitude `spectral_radius`. Input and output connections: 16 % exist, of the same distribution, positive, scaled by
    the square root of their number per neuron.

    Which connections exist and their signs are constraints: call `project` after every step of the optimiser. With `rewire`
    it moves connections that learning has brought to zero to free places, as many as before; otherwise they stay silent
    until learning revives them.

    The published network (no paper; code without a licence) rests at 0 with the threshold at -55, so that every neuron fires
    unless inhibited and surrogate gradients vanish; here the rest is 0 and the threshold 1. Its leaks, wiring, magnitudes and
    refractory steps are kept.

    :param inputs: size of the input
    :param outputs: size of the output
    :param neurons: N
    :param wiring: a name of `WIRINGS`
    :param freeze: which of the "input", "recurrent" and "output" weights stay as drawn
    :param refractory: steps of silence after a spike
    :param spectral_radius: of the recurrent weights
    :param readout_decay: what remains of the output after a step, in [0, 1); 0 is published
    :param rewire: move connections of weight zero
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        neurons: int = 1000,
        wiring: str = "cortex",
        freeze: tuple[str, ...] = (),
        refractory: int = 2,
        spectral_radius: float = 1.0,
        readout_decay: float = 0.0,
        rewire: bool = False,
        surrogate: str = "arctan",
        surrogate_width: float | None = None,
    ) -> None:
        super().__init__()
        self.wiring = choose("wiring", wiring, WIRINGS)
        for name in freeze:
            if name not in FREEZABLE:
                raise ValueError(f"Unknown weights '{name}' to freeze. {nearest(name, FREEZABLE)}")
        for name, value, least in (("inputs", inputs, 1), ("outputs", outputs, 1), ("refractory", refractory, 0)):
            if value < least:
                raise ValueError(f"{name}={value} must be at least {least}.")
        if not 0 <= readout_decay < 1:
            raise ValueError(f"readout_decay={readout_decay} must lie in [0, 1).")
        if not 0 < spectral_radius < math.inf:
            raise ValueError(f"spectral_radius={spectral_radius} must be positive.")
        counts = [round(p.share * neurons) for p in self.wiring.populations.values()]
        counts[0] += neurons - sum(counts)
        if min(counts) < 1:
            raise ValueError(f"neurons={neurons} leaves a population of '{wiring}' empty; use at least 20.")
        self.refractory, self.readout_decay, self.rewire = refractory, readout_decay, rewire
        kind = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        populations = list(self.wiring.populations.values())
        self.kind: Tensor  # population of each neuron (N,)
        self.leak: Tensor
        self.sign: Tensor
        self.mask: Tensor
        self.register_buffer("kind", kind)
        self.register_buffer("leak", torch.tensor([p.leak for p in populations])[kind])
        self.register_buffer("sign", torch.tensor([float(p.sign) for p in populations])[kind])
        probability = torch.tensor(self.wiring.probabilities)[kind][:, kind].T  # (to, from)
        self.register_buffer("mask", torch.rand(neurons, neurons) < probability)
        self.input = nn.Linear(inputs, neurons)
        self.recurrent = nn.Linear(neurons, neurons)
        self.output = nn.Linear(neurons, outputs)
        with torch.no_grad():
            self.recurrent.weight.copy_(self._drawn((neurons, neurons)))
            self.recurrent.weight.mul_(spectral_radius / torch.linalg.eigvals(self.recurrent.weight).abs().max())
            for layer in (self.input, self.output):
                layer.weight.copy_(_sparse_positive(layer.weight.shape))
        for name in freeze:
            self.get_submodule(name).requires_grad_(False)
        self.surrogate = Surrogate(surrogate, surrogate_width)

    def forward(
        self, x: Tensor, state: tuple[ConstrainedState, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, tuple[ConstrainedState, Tensor]]:
        """Outputs (T, B, M), spikes (T, B, N) and the last state, under inputs (T, B, I): time is the first axis.

        Inputs may be counts of spikes in bytes (uint8); the fewer there are, the less time they take.
        """
        check_sequence(x, self.input.in_features)
        currents = weighted(x, self.input.weight, self.input.bias + self.recurrent.bias)
        if state is None:
            zero = torch.zeros_like(currents[0])
            state = ConstrainedState(zero, zero, zero), torch.zeros_like(zero[:, : self.output.out_features])
        neurons, y = state
        spikes, outputs = [], []
        for current in currents:
            neurons = self._step(current, neurons)
            y = self.readout_decay * y + self.output(neurons.s)
            spikes.append(neurons.s)
            outputs.append(y)
        return torch.stack(outputs), torch.stack(spikes), (neurons, y)

    def _step(self, current: Tensor, state: ConstrainedState) -> ConstrainedState:
        current = current + state.s @ self.recurrent.weight.T
        free = (state.left == 0).to(current.dtype)
        v = leaky_integrator(state.v, current * free, self.leak)
        s = self.surrogate(v - 1.0) * free
        v = hard_reset(v, s, _REST)
        return ConstrainedState(v, s, (state.left - 1).clamp(min=0) + self.refractory * s.detach())

    @torch.no_grad()
    def project(self) -> None:
        """Remove weights where there is no connection, and those of the wrong sign."""
        weight = self.recurrent.weight
        if not weight.requires_grad:
            return
        signed = (weight * self.sign).clamp_(min=0.0)
        if self.rewire:
            self._rewire(signed)
        weight.copy_(signed * self.sign * self.mask)

    def _rewire(self, signed: Tensor) -> None:
        """Move connections that have come to zero to free places of the same two populations, where they begin small."""
        lost = self.mask & (signed == 0)
        for to in self.kind.unique():
            for start in self.kind.unique():
                block = (self.kind == to)[:, None] & (self.kind == start)[None, :]
                gone, free = (lost & block).nonzero(), (~self.mask & block).nonzero()
                number = min(len(gone), len(free))
                old = gone[torch.randperm(len(gone))[:number]].T.unbind()
                new = free[torch.randperm(len(free))[:number]].T.unbind()
                self.mask[old], self.mask[new] = False, True
                signed[new] = REGROWN

    def _drawn(self, shape: tuple[int, int]) -> Tensor:
        strength = torch.where(self.sign < 0, INHIBITION, 1.0) * self.sign
        return torch.empty(shape).log_normal_(LOG_MEAN, LOG_SD) * self.mask * strength


def check_sequence(x: Tensor, features: int) -> None:
    """ValueError unless this is a sequence (T, B, features): batches that are taken for time go unnoticed otherwise."""
    if x.ndim != 3 or x.shape[2] != features:
        raise ValueError(f"Inputs of shape {tuple(x.shape)} are not a sequence (steps, batch, {features}).")


def _sparse_positive(shape: torch.Size) -> Tensor:
    """Weights (outputs, inputs): exactly 16 % of them lognormal, at random places, over the root of their mean number."""
    weight = torch.zeros(shape).flatten()
    places = torch.randperm(len(weight))[: max(1, int(DENSITY * len(weight)))]
    weight[places] = torch.empty(len(places)).log_normal_(LOG_MEAN, LOG_SD)
    return weight.reshape(shape) / max(1.0, DENSITY * shape[1]) ** 0.5
