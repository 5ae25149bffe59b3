"""A feed-forward spiking network that takes numbers and gives numbers, as an MLP does."""

import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from policies.decoders import DECODERS, Decoder
from policies.encoders import ENCODERS, Encoder
from policies.names import choose, nearest
from policies.neurons import Neurons, State
from policies.precision import BFloat16Linear, check_precision

NetState = tuple[State, ...]


class SpikingLinear(nn.Module):
    """Weights and a layer of spiking neurons: (T, B, in) -> spikes (T, B, out)."""

    def __init__(self, size_in: int, size_out: int, neuron: Mapping[str, Any], precision: str = "float32") -> None:
        super().__init__()
        self.linear = (BFloat16Linear if precision == "bfloat16" else nn.Linear)(size_in, size_out)
        self.neurons = Neurons(size_out, **neuron)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        spikes, state = self.neurons(self.linear(x), state)
        return spikes, state


class SpikingNet(nn.Module):
    """Encoder, layers of spiking neurons, decoder: x (B, features) -> y (B, outputs).

    Every call starts at rest, so a result depends on its own row of x alone. To carry potentials from one call to the
    next, use `run` with a state, or set `carried` as stateful policies do.

    :param net_arch: sizes of the spiking layers
    :param n_timesteps: steps T of the network for one x
    :param encoder: "adaptive", "direct", "population", "rate" or "latency" (`policies.encoders`)
    :param decoder: "adaptive", "rate", "membrane", "population" or "lateral" (`policies.decoders`)
    :param encoder_kwargs: further arguments of the encoder
    :param decoder_kwargs: further arguments of the decoder
    :param neuron: "lif", "synaptic_lif" or "alif"
    :param neuron_kwargs: further arguments of `policies.neurons.Neurons`, such as `reset`, `v_th`, `learnable`
    :param surrogate: name of the surrogate gradient (`policies.surrogate`)
    :param surrogate_width: how far from the threshold it reaches
    :param initial_rate: the weights of every spiking layer are scaled once, at the start, until this fraction of neurons
        fires per step under standard normal inputs; layers that begin silent, or firing always, hardly learn. None
        leaves them as torch draws them.
    :param precision: of the products with the spiking layers' weights, "float32" or "bfloat16" (`policies.precision`)
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        net_arch: Sequence[int] = (256, 256),
        n_timesteps: int = 4,
        encoder: str = "adaptive",
        decoder: str = "adaptive",
        encoder_kwargs: Mapping[str, Any] | None = None,
        decoder_kwargs: Mapping[str, Any] | None = None,
        neuron: str = "lif",
        neuron_kwargs: Mapping[str, Any] | None = None,
        surrogate: str = "arctan",
        surrogate_width: float | None = None,
        initial_rate: float | None = 0.15,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        check_precision(precision)
        if n_timesteps < 1 or n_timesteps != int(n_timesteps):
            raise ValueError(f"n_timesteps={n_timesteps} must be a whole number, 1 or more.")
        if not net_arch:
            raise ValueError("A spiking network needs at least one layer, but net_arch is empty.")
        if initial_rate is not None and not 0.0 < initial_rate < 0.5:
            raise ValueError(f"initial_rate={initial_rate} must be in (0, 0.5), or None.")
        self.n_timesteps = n_timesteps
        neurons = {"neuron": neuron, "surrogate": surrogate, "surrogate_width": surrogate_width, **(neuron_kwargs or {})}
        self.encoder: Encoder = _build(
            "encoder", encoder, choose("encoder", encoder, ENCODERS), encoder_kwargs, features, n_timesteps
        )
        sizes = [self.encoder.size, *net_arch]
        self.layers = nn.ModuleList(SpikingLinear(a, b, neurons, precision) for a, b in itertools.pairwise(sizes))
        self.decoder: Decoder = _build(
            "decoder", decoder, choose("decoder", decoder, DECODERS), decoder_kwargs, sizes[-1], outputs, n_timesteps, neurons
        )
        self.carried: NetState | None = None
        if initial_rate is not None:
            self._calibrate(features, initial_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (B, A), each row from rest; while `carried` is set, from there, and it moves on."""
        y, state = self.run(x, self.carried)
        if self.carried is not None:
            self.carried = state
        return y

    def run(self, x: Tensor, state: NetState | None = None) -> tuple[Tensor, NetState]:
        """Outputs (B, A) and the state afterwards: a tuple of tensors (B, ...) for encoder, each layer and decoder."""
        states: Iterator[State | None] = iter(state) if state is not None else iter([None] * (len(self.layers) + 2))
        h, moved = self.encoder(x, next(states))
        ends = [moved]
        for layer in self.spiking_layers():
            h, moved = layer.neurons(self._currents(layer, h), next(states))
            ends.append(moved)
        y, moved = self.decoder(h, next(states))
        return y, (*ends, moved)

    def rest(self, batch: int) -> NetState:
        """The state at rest, for `batch` rows."""
        parameter = next(self.parameters())
        like = parameter.new_zeros(batch, 1)
        layers = [layer.neurons.rest(like.expand(-1, layer.neurons.size)) for layer in self.spiking_layers()]
        return (self.encoder.rest(like), *layers, self.decoder.rest(like))

    def spiking_layers(self) -> list[SpikingLinear]:
        """The hidden layers, from the encoder on."""
        return list(self.layers)  # type: ignore[arg-type]

    def _currents(self, layer: SpikingLinear, h: Tensor) -> Tensor:
        """Currents (T, B, N); those of a constant input are computed once."""
        currents: Tensor = layer.linear(h)
        return currents.expand(self.n_timesteps, -1, -1) if h.shape[0] < self.n_timesteps else currents

    @torch.no_grad()
    def _calibrate(self, features: int, rate: float) -> None:
        """Scale weights layer by layer (in the manner of Mishkin & Matas, ICLR 2016, who do so for variances)."""
        training = self.training
        self.eval()
        h, _ = self.encoder(torch.randn(128, features))
        hidden: list[Any] = [*self.layers, *([self.decoder] if self.decoder.population else [])]
        for layer in hidden:
            currents = self._currents(layer, h)
            low, high = 2.0**-8, 2.0**8
            for _ in range(16):
                scale = (low * high) ** 0.5
                spikes, _ = layer.neurons(currents * scale)
                low, high = (scale, high) if spikes.mean() < rate else (low, scale)
            layer.linear.weight *= scale
            layer.linear.bias *= scale
            h = spikes
        self.train(training)


def _build(what: str, name: str, kind: type[Any], kwargs: Mapping[str, Any] | None, *args: Any) -> Any:
    """An encoder or decoder; an argument that it has not is named together with those that it has."""
    known = list(inspect.signature(kind).parameters)[len(args) :]
    for key in kwargs or {}:
        if key not in known:
            told = nearest(key, known) if known else "It has none."
            raise ValueError(f"The {what} '{name}' has no argument '{key}'. {told}")
    return kind(*args, **(kwargs or {}))
