"""The constrained spiking network as a map between sequences of numbers, which can also act step by step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from policies.constrained import ConstrainedRSNN, ConstrainedState
from policies.sequences import Response, SequenceModel

State = tuple[Tensor, ...]


class ReservoirRegressor(SequenceModel):
    """Standardised inputs, seen through synapses with memories of several lengths -> `ConstrainedRSNN` -> outputs in the
    units of the targets.

    Input k arrives as the traces u_d(t) = d * u_d(t-1) + u(t), one for each decay d of `traces`: 0 is the input itself, 1 its
    sum since the start. With `differentiate` the network's readout stands for the sum of the outputs, and what is given out is
    its change in a step; so that errors do not add up where outputs are velocities and their sum is a position.

    Call `fit` with training data once, before learning.

    :param traces: decays in [0, 1]
    :param differentiate: give out changes of the readout
    :param kwargs: of `ConstrainedRSNN`
    """

    def __init__(
        self,
        inputs: int = 2,
        outputs: int = 2,
        neurons: int = 1000,
        traces: Sequence[float] = (0.0,),
        differentiate: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if not traces or not all(0 <= d <= 1 for d in traces):
            raise ValueError(f"traces={tuple(traces)} must be decays in [0, 1], at least one.")
        self.inputs, self.outputs, self.traces, self.differentiate = inputs, outputs, tuple(traces), differentiate
        size = inputs * len(traces)
        self.network = ConstrainedRSNN(size, outputs, neurons, **kwargs)
        self.input_scale: Tensor
        self.input_shift: Tensor
        self.output_scale: Tensor
        self.output_shift: Tensor
        for name, width in (("input", size), ("output", outputs)):
            self.register_buffer(f"{name}_scale", torch.ones(width))
            self.register_buffer(f"{name}_shift", torch.zeros(width))

    @torch.no_grad()
    def fit(self, x: Tensor, y: Tensor) -> None:
        """Take the scales of inputs and outputs from training sequences (T, B, ·)."""
        seen = torch.stack(list(self._traced(x, self._no_traces(x))))
        self.input_shift.copy_(seen.mean(dim=(0, 1)))
        self.input_scale.copy_(seen.std(dim=(0, 1)).clamp(min=1e-6))
        wanted = y.cumsum(dim=0) if self.differentiate else y
        self.output_scale.copy_(wanted.std(dim=(0, 1)).clamp(min=1e-6))
        # The sum of the outputs is 0 before the first step, and so is what the readout stands for.
        self.output_shift.copy_(torch.zeros_like(self.output_shift) if self.differentiate else wanted.mean(dim=(0, 1)))

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
        outputs = like.new_zeros(batch, self.outputs)
        return self._no_traces(like[None]), outputs, outputs, neurons, neurons, neurons

    def _no_traces(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[1], self.inputs * len(self.traces))

    def _traced(self, x: Tensor, traces: Tensor) -> Any:
        decays = torch.tensor(self.traces, dtype=x.dtype, device=x.device).repeat_interleave(self.inputs)
        for now in x:
            traces = decays * traces + now.repeat(1, len(self.traces))
            yield traces
