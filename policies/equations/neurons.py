"""Spiking neurons as arithmetic on arrays.

A neuron takes a current, not weights, and returns its new state and its spikes. `spike` turns the distance to the
threshold into spikes (a float 0 or 1 of the state's dtype); each engine passes its own. Constants are Python floats.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

Array = Any  # a NumPy, JAX or torch array: only Python operators are used on it


class CurrentLIFState(NamedTuple):
    """Membrane potential `v` and synaptic current `i_syn`, both of the shape of the layer."""

    v: Array
    i_syn: Array


@dataclass(frozen=True)
class CurrentLIF:
    """Constants of the current-based LIF neuron with exponential decays; times in ms, potentials dimensionless."""

    dt: float = 0.5
    tau_syn: float = 5.0
    tau_mem: float = 10.0
    tau_out: float = 10.0
    v_rest: float = 0.0
    v_th: float = 1.0

    @property
    def decay_syn(self) -> float:
        return math.exp(-self.dt / self.tau_syn)

    @property
    def decay_mem(self) -> float:
        return math.exp(-self.dt / self.tau_mem)

    @property
    def decay_out(self) -> float:
        return math.exp(-self.dt / self.tau_out)


def current_lif(
    state: CurrentLIFState,
    recurrent_current: Array,
    input_current: Array,
    c: CurrentLIF,
    spike: Callable[[Array], Array],
) -> tuple[CurrentLIFState, Array]:
    """One substep of the neuron of Evolving Connectivity (Wang et al., NeurIPS 2023, arXiv 2305.17650).

        i_syn <- decay_syn * i_syn + recurrent_current
        v     <- decay_mem * v + (1 - decay_mem) * (v_rest + i_syn + input_current)
        s     =  spike(v - v_th)                      fires when v is strictly above the threshold
        v     <- v_rest where s                       hard reset, no refractory period

    `recurrent_current` is what the last substep's spikes deliver (each adds its full weight, the filter is not
    normalised); `input_current` is held constant over the substeps of one environment step.
    """
    i_syn = c.decay_syn * state.i_syn + recurrent_current
    v = c.decay_mem * state.v + (1.0 - c.decay_mem) * (c.v_rest + i_syn + input_current)
    s = spike(v - c.v_th)
    v = v - s * (v - c.v_rest)
    return CurrentLIFState(v, i_syn), s


def spike_trace(trace: Array, s: Array, c: CurrentLIF) -> Array:
    """Low-pass filtered spike train in spikes per ms: trace <- decay_out * trace + (1 - decay_out) * s / dt."""
    return c.decay_out * trace + ((1.0 - c.decay_out) / c.dt) * s
