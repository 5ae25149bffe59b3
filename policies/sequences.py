"""Networks that map sequences of inputs to sequences of outputs: those with which spoken digits are classified.

All take (T, B, inputs), time first, as numbers or as counts in bytes (uint8), and give a `Response`. After every step of the
optimiser call `project`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from policies.constrained import ConstrainedRSNN, check_sequence
from policies.delays import DelayedLinear
from policies.neurons import Neurons
from policies.recurrent import AdLIFLayer, LeakyReadout, RecurrentLayer, ThresholdALIFLayer


class Response(NamedTuple):
    """Outputs over time (T, B, M), the scores (B, M) that they add up to, and the spikes (T, B, N) of each layer."""

    outputs: Tensor
    scores: Tensor
    spikes: tuple[Tensor, ...]


class SequenceModel(nn.Module):
    """A network over sequences, and the parts of it that have constraints."""

    inputs: int

    def forward(self, x: Tensor) -> Response:
        check_sequence(x, self.inputs)
        return self.respond(x)

    def respond(self, x: Tensor) -> Response:
        """The response to a sequence (T, B, inputs)."""
        raise NotImplementedError

    def project(self) -> None:
        """Satisfy all constraints."""
        for part in self.modules():
            if isinstance(part, (RecurrentLayer, LeakyReadout, DelayedLinear, ConstrainedRSNN)):
                part.project()

    def learned(self, progress: float) -> None:
        """Told before every epoch which part of learning is over."""


class AdaptiveSRNN(SequenceModel):
    """Recurrent layers of adaptive neurons and a leaky readout (Yin, Corradi & Bohte, Nature Machine Intelligence 2021, arXiv
    2103.12593): 700-128-128-20 has 142,396 parameters.

    Scores are the sum over steps after the first `skip` of the softmax of the readout's potentials.
    """

    def __init__(
        self, inputs: int = 700, outputs: int = 20, sizes: Sequence[int] = (128, 128), skip: int = 11, **kwargs: Any
    ) -> None:
        super().__init__()
        self.inputs, self.skip = inputs, skip
        before = [inputs, *sizes[:-1]]
        self.layers = nn.ModuleList(ThresholdALIFLayer(i, n, **kwargs) for i, n in zip(before, sizes, strict=True))
        self.readout = LeakyReadout(sizes[-1], outputs)
        # The published network counts a time constant of adaptation of each readout, though readouts do not adapt.
        self.readout.tau_adapt = nn.Parameter(torch.full((outputs,), 150.0), requires_grad=False)

    def respond(self, x: Tensor) -> Response:
        spikes = []
        for layer in self.layers:
            x, _ = layer(x)
            spikes.append(x)
        return summed(self.readout(x), tuple(spikes), self.skip)


class AdLIFNetwork(SequenceModel):
    """Layers of LIF neurons with subthreshold adaptation, recurrent or not, and a leaky readout (Baronig et al., Nature
    Communications 2025, arXiv 2408.07517; without recurrence: Bittar & Garner, Frontiers in Neuroscience 2022)."""

    def __init__(
        self,
        inputs: int = 700,
        outputs: int = 20,
        sizes: Sequence[int] = (360, 360),
        skip: int = 10,
        dropout: float = 0.15,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.inputs, self.skip = inputs, skip
        before = [inputs, *sizes[:-1]]
        self.layers = nn.ModuleList(AdLIFLayer(i, n, **kwargs) for i, n in zip(before, sizes, strict=True))
        self.dropout = nn.Dropout(dropout)
        self.readout = LeakyReadout(sizes[-1], outputs)

    def respond(self, x: Tensor) -> Response:
        spikes = []
        for layer in self.layers:
            x, _ = layer(x)
            spikes.append(x)
            x = self.dropout(x)
        return summed(self.readout(x), tuple(spikes), self.skip)


class DelayNetwork(SequenceModel):
    """Feed-forward layers whose connections have learned delays, batch normalisation and LIF neurons (Hammouamri et al., ICLR
    2024, arXiv 2306.17670): 140-256-256-20 has 106,496 weights and as many delays.

    The published time constant is 10.05 ms at steps of 10 ms, so that nearly all memory is in the delays.
    """

    def __init__(
        self,
        inputs: int = 140,
        outputs: int = 20,
        sizes: Sequence[int] = (256, 256),
        max_delay: int = 25,
        dropout: float = 0.4,
        tau_mem: float = 1.005,
        surrogate: str = "arctan",
    ) -> None:
        super().__init__()
        self.inputs = inputs
        pairs = zip([inputs, *sizes], [*sizes, outputs], strict=True)
        self.connections = nn.ModuleList(DelayedLinear(i, n, max_delay) for i, n in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) for n in sizes)
        self.neurons = nn.ModuleList(Neurons(n, "lif", surrogate, detach_reset=True, tau_mem=tau_mem) for n in sizes)
        self.dropout = nn.Dropout(dropout)

    def respond(self, x: Tensor) -> Response:
        spikes = []
        for connection, norm, neurons in zip(self.connections, self.norms, self.neurons, strict=False):
            current = connection(x)
            x, _ = neurons(norm(current.flatten(0, 1)).reshape(current.shape))
            spikes.append(x)
            x = self.dropout(x)
        return summed(self.connections[-1](x), tuple(spikes), 0)

    def learned(self, progress: float) -> None:
        for connection in self.connections:
            assert isinstance(connection, DelayedLinear)
            connection.narrow(progress)


class ReservoirClassifier(SequenceModel):
    """The constrained network of excitatory and inhibitory LIF neurons, 700-1000-20: 1,722,020 parameters.

    Scores are the mean over time of the weighted spikes. (The code that it follows takes a softmax of them before the one in
    the loss, which then cannot fall below 2.078.)
    """

    def __init__(
        self, inputs: int = 700, outputs: int = 20, neurons: int = 1000, wiring: str = "balanced", **kwargs: Any
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.network = ConstrainedRSNN(inputs, outputs, neurons, wiring, **({"refractory": 4} | kwargs))

    def respond(self, x: Tensor) -> Response:
        outputs, spikes, _ = self.network(x)
        return Response(outputs, outputs.mean(dim=0), (spikes,))


MODELS: dict[str, type[SequenceModel]] = {
    "srnn": AdaptiveSRNN,
    "adlif": AdLIFNetwork,
    "delays": DelayNetwork,
    "reservoir": ReservoirClassifier,
}
"""Networks for spoken digits by name."""


def summed(potentials: Tensor, spikes: tuple[Tensor, ...], skip: int) -> Response:
    """Scores are the sums of the softmax of the potentials (T, B, M) after the first `skip` steps."""
    return Response(potentials, potentials[skip:].softmax(dim=-1).sum(dim=0), spikes)
