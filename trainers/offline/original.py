"""What the released ACSF code does differently and what changes results: only for `--fidelity original`."""

from typing import Any

from torch import Tensor, nn

from policies.decoders import EMPTY, Decoder
from policies.neurons import Neurons, State


class TwoMapDecoder(Decoder):
    """ACSF's decoder in two affine maps: spikes of all steps (T * H) -> H -> outputs. Networks may share the first.

    :param first: the shared map; None for one of its own
    """

    def __init__(
        self, hidden: int, outputs: int, n_timesteps: int, neuron: dict[str, Any], first: nn.Linear | None = None
    ) -> None:
        super().__init__(hidden, outputs, n_timesteps, neuron)
        self.first = nn.Linear(n_timesteps * hidden, hidden) if first is None else first
        self.second = nn.Linear(hidden, outputs)

    def forward(self, spikes: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        return self.second(self.first(spikes.transpose(0, 1).flatten(1))), EMPTY


class OutputRateDecoder(Decoder):
    """Rates, in [0, 1], of one spiking neuron for each output."""

    population = True

    def __init__(self, hidden: int, outputs: int, n_timesteps: int, neuron: dict[str, Any]) -> None:
        super().__init__(hidden, outputs, n_timesteps, neuron)
        self.linear = nn.Linear(hidden, outputs)
        self.neurons = Neurons(outputs, **neuron)

    def forward(self, spikes: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        own, state = self.neurons(self.linear(spikes), state)
        return own.mean(0), state

    def rest(self, like: Tensor) -> State:
        return self.neurons.rest(like.new_zeros(len(like), self.outputs))


def use_two_maps(net: Any, neuron: dict[str, Any], twin: Any = None) -> None:
    """Give a spiking network ACSF's decoder in two maps; with a `twin`, that one's encoder and first map."""
    hidden, outputs = net.layers[-1].linear.out_features, net.decoder.outputs
    if twin is not None:
        net.encoder = twin.encoder
    net.decoder = TwoMapDecoder(hidden, outputs, net.n_timesteps, neuron, None if twin is None else twin.decoder.first)


def use_output_rates(net: Any, neuron: dict[str, Any]) -> None:
    """Let a spiking network's outputs be the rates of spiking neurons."""
    net.decoder = OutputRateDecoder(net.layers[-1].linear.out_features, net.decoder.outputs, net.n_timesteps, neuron)
