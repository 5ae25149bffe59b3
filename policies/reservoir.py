"""The constrained spiking network as a map between sequences of numbers, which can also act step by step."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from policies.constrained import ConstrainedRSNN, ConstrainedState
from policies.fused import filtered
from policies.sequences import Response, SequenceModel

State = tuple[Tensor, ...]
GAIN = 6.0  # of the potential that a tuned neuron tends to, in thresholds per standard deviation
SPREAD = 2.0  # largest distance of a tuned neuron's threshold from the mean, in standard deviations
AT_ONCE = 50  # sequences whose spikes are held for the regression


class ReservoirRegressor(SequenceModel):
    """Standardised inputs, seen through synapses with memories of several lengths -> `ConstrainedRSNN` -> outputs in the
    units of the targets.

    Input k arrives as the traces u_d(t) = d * u_d(t-1) + u(t), one for each decay d of `traces`: 0 is the input itself, 1 its
    sum since the start. With `differentiate` the network's readout stands for the sum of the outputs, and what is given out is
    its change in a step; so that errors do not add up where outputs are velocities and their sum is a position.

    Call `fit` with training data once, before learning. It takes the scales of inputs and outputs and, if told so, puts the
    network where reservoir computing ends, so that learning has only to refine it:

    - `tuning` replaces the sparse positive input weights. Neuron i gets a random direction e_i and a threshold c_i, uniform
      within two standard deviations, and the current (1 - leak)(1 + 6 (e_i x - c_i)): alone it fires when e_i x > c_i, so that
      all of the inputs' range is told apart (the neural engineering framework; Eliasmith & Anderson 2003).
    - `ridge` solves the readout, and the output before the first step, by ridge regression (Jaeger 2001, Maass 2002).

    :param traces: decays in [0, 1]
    :param tuning: how much each trace weighs in the neurons' directions, at least 0; None keeps the weights as drawn
    :param ridge: penalty on the readout's weights, in mean squares of the filtered spikes, e.g. 1e-4; None keeps it as drawn
    :param differentiate: give out changes of the readout
    :param kwargs: of `ConstrainedRSNN`
    """

    def __init__(
        self,
        inputs: int = 2,
        outputs: int = 2,
        neurons: int = 1000,
        traces: Sequence[float] = (0.0,),
        tuning: Sequence[float] | None = None,
        ridge: float | None = None,
        differentiate: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if not traces or not all(0 <= d <= 1 for d in traces):
            raise ValueError(f"traces={tuple(traces)} must be decays in [0, 1], at least one.")
        if tuning is not None and (len(tuning) != len(traces) or min(tuning) < 0 or not 0 < max(tuning) < math.inf):
            raise ValueError(
                f"tuning={tuple(tuning)} must be a weight for each of the {len(traces)} traces, at least 0 and not all 0."
            )
        if ridge is not None and not 0 < ridge < math.inf:
            raise ValueError(f"ridge={ridge} must be positive.")
        self.inputs, self.outputs, self.traces, self.differentiate = inputs, outputs, tuple(traces), differentiate
        self.tuning, self.ridge = tuning, ridge
        size = inputs * len(traces)
        self.network = ConstrainedRSNN(size, outputs, neurons, **kwargs)
        self.input_scale: Tensor
        self.input_shift: Tensor
        self.output_scale: Tensor
        self.output_shift: Tensor
        for name, width in (("input", size), ("output", outputs)):
            self.register_buffer(f"{name}_scale", torch.ones(width))
            self.register_buffer(f"{name}_shift", torch.zeros(width))
        self.start: Tensor  # the readout before the first step
        self.register_buffer("start", torch.zeros(outputs))

    @torch.no_grad()
    def fit(self, x: Tensor, y: Tensor) -> None:
        """Take the scales of inputs and outputs from training sequences (T, B, ·); tune the neurons, solve the readout."""
        seen = torch.stack(list(self._traced(x, self._no_traces(x))))
        self.input_shift.copy_(seen.mean(dim=(0, 1)))
        self.input_scale.copy_(seen.std(dim=(0, 1)).clamp(min=1e-6))
        wanted = y.cumsum(dim=0) if self.differentiate else y
        self.output_scale.copy_(wanted.std(dim=(0, 1)).clamp(min=1e-6))
        # The sum of the outputs is 0 before the first step, and so is what the readout stands for.
        self.output_shift.copy_(torch.zeros_like(self.output_shift) if self.differentiate else wanted.mean(dim=(0, 1)))
        if self.tuning is not None:
            self._tune(torch.tensor(self.tuning).repeat_interleave(self.inputs))
        if self.ridge is not None:
            self._regress(x, (wanted - self.output_shift) / self.output_scale, self.ridge)

    def _tune(self, strength: Tensor) -> None:
        layer, rest = self.network.input, 1.0 - self.network.leak
        directions = functional.normalize(torch.randn(layer.weight.shape) * strength)
        thresholds = torch.empty(len(rest)).uniform_(-SPREAD, SPREAD)
        layer.weight.copy_(GAIN * rest[:, None] * directions)
        layer.bias.copy_(rest * (1.0 - GAIN * thresholds))

    def _regress(self, x: Tensor, y: Tensor, ridge: float) -> None:
        """Solve for the readout's weights, bias and start; a penalty is on the weights alone."""
        neurons = self.network.output.in_features
        square = torch.zeros(neurons + 2, neurons + 2, dtype=torch.double)
        product = torch.zeros(neurons + 2, self.outputs, dtype=torch.double)
        for inputs, targets in zip(x.split(AT_ONCE, dim=1), y.split(AT_ONCE, dim=1), strict=True):
            features = self._features(inputs).flatten(0, 1)
            square += (features.T @ features).double()
            product += (features.T @ targets.flatten(0, 1)).double()
        if self.differentiate:  # the sum of no outputs is 0
            square, product = square[:-1, :-1], product[:-1]
        penalty = torch.zeros(len(square), dtype=torch.double)
        penalty[:neurons] = ridge * square.diagonal()[:neurons].mean()
        solution = torch.linalg.solve(square + penalty.diag(), product)
        self.network.output.weight.copy_(solution[:neurons].T)
        self.network.output.bias.copy_(solution[neurons])
        if not self.differentiate:
            self.start.copy_(solution[neurons + 1])

    def _features(self, x: Tensor) -> Tensor:
        """What the readout adds up (T, B, N + 2): filtered spikes, filtered ones, what is left of the start."""
        _, spikes, _ = self.act(x)
        summed = functional.pad(functional.pad(spikes, (0, 1), value=1.0), (0, 1))
        start = torch.zeros_like(summed[0])
        start[:, -1] = 1.0
        return filtered(summed, start, self.network.readout_decay)

    def respond(self, x: Tensor) -> Response:
        outputs, spikes, _ = self.act(x)
        return Response(outputs, outputs.mean(dim=0), (spikes,))

    def act(self, x: Tensor, state: State | None = None) -> tuple[Tensor, Tensor, State]:
        """Outputs (T, B, M), spikes (T, B, N) and the state after the last step; None is the state at rest."""
        if state is None:
            state = self.rest(x[0])
        traces, before, y, *neurons = state
        seen = torch.stack(list(self._traced(x, traces)))
        readout, spikes, (last, y) = self.network(
            (seen - self.input_shift) / self.input_scale, (ConstrainedState(*neurons), y)
        )
        outputs = self.output_shift + self.output_scale * readout
        end = (seen[-1], outputs[-1], y, *last)
        if self.differentiate:
            outputs = outputs - torch.cat([before[None], outputs[:-1]])
        return outputs, spikes, end

    def rest(self, like: Tensor) -> State:
        """The state before the first step, for inputs (B, inputs)."""
        batch = len(like)
        neurons = like.new_zeros(batch, self.network.input.out_features)
        nothing = like.new_zeros(batch, self.outputs)
        return self._no_traces(like[None]), nothing, nothing + self.start, neurons, neurons, neurons

    def _no_traces(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[1], self.inputs * len(self.traces))

    def _traced(self, x: Tensor, traces: Tensor) -> Any:
        decays = torch.tensor(self.traces, dtype=x.dtype, device=x.device).repeat_interleave(self.inputs)
        for now in x:
            traces = decays * traces + now.repeat(1, len(self.traces))
            yield traces
