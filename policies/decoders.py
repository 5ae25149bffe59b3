"""From the spikes of the last hidden layer, (T, B, H), to outputs (B, A) without bounds.

A decoder may have a state, like the layers of neurons; None means at rest.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from policies.equations.neurons import leaky_integrator
from policies.fused import filtered
from policies.neurons import Neurons, State, unroll

EMPTY: State = ()


class Decoder(nn.Module):
    """What decoders share.

    :param hidden: H
    :param outputs: A
    :param n_timesteps: T
    :param neuron: arguments of `Neurons`, for decoders that have spiking neurons of their own
    """

    population: ClassVar[bool] = False  # whether it has spiking neurons of its own

    def __init__(self, hidden: int, outputs: int, n_timesteps: int, neuron: dict[str, Any]) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, spikes: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        raise NotImplementedError

    def rest(self, like: Tensor) -> State:
        """The state at rest for rows (B, ...)."""
        return EMPTY


class AdaptiveDecoder(Decoder):
    """ACSF's learned decoder: one affine map of all spikes of all steps (Qin et al., IJCAI 2023).

    The released code has two affine maps one after the other, without a non-linearity between them; they are one here.
    """

    def __init__(self, hidden: int, outputs: int, n_timesteps: int, neuron: dict[str, Any]) -> None:
        super().__init__(hidden, outputs, n_timesteps, neuron)
        self.map = nn.Linear(n_timesteps * hidden, outputs)

    def forward(self, spikes: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        return self.map(spikes.transpose(0, 1).flatten(1)), EMPTY


class RateDecoder(Decoder):
    """An affine map of the hidden neurons' firing rates."""

    def __init__(self, hidden: int, outputs: int, n_timesteps: int, neuron: dict[str, Any]) -> None:
        super().__init__(hidden, outputs, n_timesteps, neuron)
        self.map = nn.Linear(hidden, outputs)

    def forward(self, spikes: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        return self.map(spikes.mean(0)), EMPTY


class MembraneDecoder(Decoder):
    """Non-spiking leaky neurons, one per output, whose potential is read.

    :param read: "last", "max" or "mean" over the steps
    :param decay: of the potential, per step, in [0, 1]
    """

    def __init__(
        self, hidden: int, outputs: int, n_timesteps: int, neuron: dict[str, Any], read: str = "last", decay: float = 0.5
    ) -> None:
        super().__init__(hidden, outputs, n_timesteps, neuron)
        if read not in ("last", "max", "mean"):
            raise ValueError(f"read='{read}' of a membrane decoder must be one of last, max, mean.")
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f"decay={decay} of a membrane decoder must be in [0, 1].")
        self.read, self.decay = read, decay
        self.map = nn.Linear(hidden, outputs)

    def forward(self, spikes: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        v = filtered(self.map(spikes), None if state is None else state[0], self.decay)
        return {"last": v[-1], "max": v.amax(0), "mean": v.mean(0)}[self.read], (v[-1],)

    def rest(self, like: Tensor) -> State:
        return (like.new_zeros(len(like), self.outputs),)


class PopulationDecoder(Decoder):
    """PopSAN's decoder: `n_pop` spiking neurons per output, whose rates an affine map per output reads.

    :param n_pop: neurons per output
    """

    population = True

    def __init__(self, hidden: int, outputs: int, n_timesteps: int, neuron: dict[str, Any], n_pop: int = 10) -> None:
        super().__init__(hidden, outputs, n_timesteps, neuron)
        if n_pop < 1:
            raise ValueError(f"n_pop={n_pop} must be at least 1.")
        self.n_pop = n_pop
        self.linear = nn.Linear(hidden, outputs * n_pop)
        self.neurons = Neurons(outputs * n_pop, **neuron)
        bound = n_pop**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, n_pop).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, spikes: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        own, state = self.neurons(self.linear(spikes), state)
        return self.read(own.mean(0)), state

    def rest(self, like: Tensor) -> State:
        return self.neurons.rest(like.new_zeros(len(like), self.neurons.size))

    def read(self, rates: Tensor) -> Tensor:
        """Outputs (..., A) of rates (..., A * n_pop)."""
        return (rates.unflatten(-1, (self.outputs, self.n_pop)) * self.weight).sum(-1) + self.bias


class LateralDecoder(PopulationDecoder):
    """ILC-SAN's decoder (Xu et al., TNNLS 2024, arXiv 2401.05444): the output neurons of one action also receive each other's
    last spikes, and their read-out is summed over the steps on a non-spiking membrane instead of averaging rates.

    :param decay: of that membrane, per step, in [0, 1]
    """

    def __init__(
        self, hidden: int, outputs: int, n_timesteps: int, neuron: dict[str, Any], n_pop: int = 10, decay: float = 1.0
    ) -> None:
        super().__init__(hidden, outputs, n_timesteps, neuron, n_pop)
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f"decay={decay} of a lateral decoder must be in [0, 1].")
        self.decay = decay
        bound = n_pop**-0.5
        self.lateral = nn.Parameter(torch.empty(outputs, n_pop, n_pop).uniform_(-bound, bound))
        self.lateral_bias = nn.Parameter(torch.zeros(outputs * n_pop))

    def forward(self, spikes: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        currents = self.linear(spikes)

        def step(state: State, current: Tensor) -> tuple[State, Tensor]:
            *inner, last, v = state
            grouped = last.unflatten(-1, (self.outputs, self.n_pop))
            lateral = torch.einsum("bai,aij->baj", grouped, self.lateral).flatten(1) + self.lateral_bias
            s, moved = self.neurons((current + lateral)[None], tuple(inner))
            return (*moved, s[0], leaky_integrator(v, self.read(s[0]), self.decay)), s[0]

        _, end = unroll(step, currents, self.rest(spikes[0]) if state is None else state)
        return end[-1], end

    def rest(self, like: Tensor) -> State:
        last, v = like.new_zeros(len(like), self.neurons.size), like.new_zeros(len(like), self.outputs)
        return (*super().rest(like), last, v)


DECODERS: dict[str, type[Decoder]] = {
    "adaptive": AdaptiveDecoder,
    "rate": RateDecoder,
    "membrane": MembraneDecoder,
    "population": PopulationDecoder,
    "lateral": LateralDecoder,
}
