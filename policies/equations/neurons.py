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


@dataclass(frozen=True)
class LIF:
    """Constants of the LIF neuron; `tau_mem` in steps (at least 1), potentials dimensionless."""

    tau_mem: float = 2.0
    v_rest: float = 0.0
    v_th: float = 1.0


def lif(
    v: Array, current: Array, c: LIF, spike: Callable[[Array], Array], reset: Callable[[Array, Array, LIF], Array]
) -> tuple[Array, Array]:
    """One step of the neuron of ACSF (Qin et al., IJCAI 2023, arXiv 2211.11760); returns (v, s).

    v <- v + (current - (v - v_rest)) / tau_mem
    s =  spike(v - v_th)
    v <- reset(v, s)                              `hard_reset`, `soft_reset` or `no_reset`
    """
    v = v + (current - (v - c.v_rest)) / c.tau_mem
    s = spike(v - c.v_th)
    return reset(v, s, c), s


class SynapticLIFState(NamedTuple):
    """Membrane potential `v` and synaptic current `i_syn`, both of the shape of the layer."""

    v: Array
    i_syn: Array


@dataclass(frozen=True)
class SynapticLIF:
    """Constants of the neuron of PopSAN; decays per step, potentials dimensionless."""

    decay_syn: float = 0.5
    decay_mem: float = 0.75
    v_rest: float = 0.0
    v_th: float = 0.5


def synaptic_lif(
    state: SynapticLIFState,
    current: Array,
    c: SynapticLIF,
    spike: Callable[[Array], Array],
    reset: Callable[[Array, Array, SynapticLIF], Array],
) -> tuple[SynapticLIFState, Array]:
    """One step of the neuron of PopSAN (Tang et al., CoRL 2020, arXiv 2010.09635), the filters not normalised.

    i_syn <- decay_syn * i_syn + current
    v     <- v_rest + decay_mem * (v - v_rest) + i_syn
    s     =  spike(v - v_th)
    v     <- reset(v, s)
    """
    i_syn = c.decay_syn * state.i_syn + current
    v = c.v_rest + c.decay_mem * (state.v - c.v_rest) + i_syn
    s = spike(v - c.v_th)
    return SynapticLIFState(reset(v, s, c), i_syn), s


class Adapting:
    """Decays per step of neurons that adapt, from their time constants in steps."""

    tau_mem: float
    tau_adapt: float

    @property
    def decay_mem(self) -> float:
        return math.exp(-1.0 / self.tau_mem)

    @property
    def decay_adapt(self) -> float:
        return math.exp(-1.0 / self.tau_adapt)


class ALIFState(NamedTuple):
    """Membrane potential `v` and threshold adaptation `a`, both of the shape of the layer."""

    v: Array
    a: Array


@dataclass(frozen=True)
class ALIF(Adapting):
    """Constants of the adaptive LIF neuron; time constants in steps, potentials dimensionless."""

    tau_mem: float = 20.0
    tau_adapt: float = 150.0
    beta: float = 1.8
    v_rest: float = 0.0
    v_th: float = 1.0


def alif(
    state: ALIFState,
    current: Array,
    c: ALIF,
    spike: Callable[[Array], Array],
    reset: Callable[[Array, Array, ALIF], Array],
) -> tuple[ALIFState, Array]:
    """One step of the adaptive LIF neuron (Bellec et al., NeurIPS 2018; Yin et al., Nature Machine Intelligence 2021).

    v <- v_rest + decay_mem * (v - v_rest) + (1 - decay_mem) * current
    s =  spike(v - (v_th + beta * a))
    v <- reset(v, s)                              a soft reset takes v_th away, not the adapted threshold
    a <- decay_adapt * a + (1 - decay_adapt) * s
    """
    v = c.v_rest + c.decay_mem * (state.v - c.v_rest) + (1.0 - c.decay_mem) * current
    s = spike(v - (c.v_th + c.beta * state.a))
    a = c.decay_adapt * state.a + (1.0 - c.decay_adapt) * s
    return ALIFState(reset(v, s, c), a), s


class ThresholdALIFState(NamedTuple):
    """Membrane potential `v`, threshold adaptation `a` and the spikes `s` of the step before, of the shape of the layer."""

    v: Array
    a: Array
    s: Array


@dataclass(frozen=True)
class ThresholdALIF(Adapting):
    """Constants of the adaptive neuron of Yin's recurrent networks; time constants in steps, potentials dimensionless."""

    tau_mem: float = 20.0
    tau_adapt: float = 150.0
    beta: float = 1.8
    v_th: float = 0.01


def threshold_alif(
    state: ThresholdALIFState, current: Array, c: Any, spike: Callable[[Array], Array]
) -> tuple[ThresholdALIFState, Array]:
    """One step of the adaptive neuron of Yin, Corradi & Bohte (Nature Machine Intelligence 2021, arXiv 2103.12593, released
    code), which differs from `alif` in its reset: by the adapted threshold, one step late.

    a <- decay_adapt * a + (1 - decay_adapt) * s
    v <- decay_mem * v + (1 - decay_mem) * current - (v_th + beta * a) * s
    s =  spike(v - (v_th + beta * a))

    :param c: a `ThresholdALIF`, or anything with its decays (which may be arrays), `beta` and `v_th`
    """
    a = c.decay_adapt * state.a + (1.0 - c.decay_adapt) * state.s
    threshold = c.v_th + c.beta * a
    v = c.decay_mem * state.v + (1.0 - c.decay_mem) * current - threshold * state.s
    s = spike(v - threshold)
    return ThresholdALIFState(v, a, s), s


class AdLIFState(NamedTuple):
    """Membrane potential `v` and adaptation current `w`, both of the shape of the layer."""

    v: Array
    w: Array


@dataclass(frozen=True)
class AdLIF(Adapting):
    """Constants of the LIF neuron with subthreshold adaptation; time constants in steps, potentials dimensionless."""

    tau_mem: float = 15.0
    tau_adapt: float = 75.0
    a: float = 0.5
    b: float = 1.0
    v_th: float = 1.0


def se_adlif(state: AdLIFState, current: Array, c: Any, spike: Callable[[Array], Array]) -> tuple[AdLIFState, Array]:
    """One step of the adaptive LIF neuron by the symplectic Euler method, stable for any decays (Baronig et al., Nature
    Communications 2025, arXiv 2408.07517): the adaptation follows the potential that was just computed, so that the two may
    oscillate without blowing up.

    v <- decay_mem * v + (1 - decay_mem) * (current - w)
    s =  spike(v - v_th)
    v <- 0 where s
    w <- decay_adapt * w + (1 - decay_adapt) * (a * v + b * s)

    :param c: an `AdLIF`, or anything with its decays, `a`, `b` (which may be arrays) and `v_th`
    """
    v = c.decay_mem * state.v + (1.0 - c.decay_mem) * (current - state.w)
    s = spike(v - c.v_th)
    v = v - s * v
    w = c.decay_adapt * state.w + (1.0 - c.decay_adapt) * (c.a * v + c.b * s)
    return AdLIFState(v, w), s


def leaky_integrator(v: Array, current: Array, decay: float | Array) -> Array:
    """A neuron that never fires: v <- decay * v + current."""
    return decay * v + current


def hard_reset(v: Array, s: Array, c: Any) -> Array:
    """Back to `v_rest` where a neuron fired."""
    return v - s * (v - c.v_rest)


def soft_reset(v: Array, s: Array, c: Any) -> Array:
    """Down by the distance from rest to threshold where a neuron fired; what was above it remains."""
    return v - s * (c.v_th - c.v_rest)


def no_reset(v: Array, s: Array, c: Any) -> Array:
    """The potential is not changed by a spike."""
    return v


RESETS: dict[str, Callable[[Array, Array, Any], Array]] = {"hard": hard_reset, "soft": soft_reset, "none": no_reset}
"""Name of a reset -> its equation."""
