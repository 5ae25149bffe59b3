"""Recurrent spiking network with real-valued weights, the network of the ES baseline."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from policies.equations.neurons import CurrentLIF, CurrentLIFState, current_lif, spike_trace
from policies.population.spiking import heaviside, initial_membrane, substeps

Params = dict[str, jax.Array]


class DenseSNNCarry(NamedTuple):
    """Neurons (v, i_syn: float32 (N,)), spike trace (N,) per ms, spikes (N,) of the last substep as floats."""

    neurons: CurrentLIFState
    trace: jax.Array
    spikes: jax.Array


@dataclass(frozen=True)
class DenseSNN:
    """The RSNN's neurons and substeps with float weights `in` (D, N), `h` (N, N), `out` (N, A), drawn from N(0, 1).

    As published (arXiv 2305.17650, ES baseline) inputs are not doubled and spikes carry no sign. For a comparison that
    differs from the RSNN in the synapses alone, set `signed_inputs=True` (the input is [x, -x], `in` is (2D, N)) and
    `dale=True` (the second half of the neurons emits -1; weights are used by magnitude, so that signs are the
    presynaptic neuron's alone). Scales are those of the RSNN without the density.
    """

    one_bit: ClassVar[bool] = False

    observation_size: int
    action_size: int
    num_neurons: int = 256
    signed_inputs: bool = False
    dale: bool = False
    excitatory_ratio: float = 0.5
    k_in: float = 0.1
    k_h: float = 1.0
    k_out: float = 5.0
    sim_time: float = 16.6
    dt: float = 0.5
    tau_syn: float = 5.0
    tau_mem: float = 10.0
    tau_out: float = 10.0
    random_initial_v: bool = True

    def __post_init__(self) -> None:
        if self.num_neurons < 1:
            raise ValueError(f"num_neurons={self.num_neurons}; a network needs at least 1 neuron.")
        substeps(self.sim_time, self.dt)

    @property
    def neuron(self) -> CurrentLIF:
        return CurrentLIF(self.dt, self.tau_syn, self.tau_mem, self.tau_out)

    @property
    def scales(self) -> tuple[float, float, float]:
        """(R_in, R_h, R_out)."""
        v_th = self.neuron.v_th
        r_in = self.k_in * v_th * self.tau_mem * math.sqrt(2 / self.observation_size)
        r_h = self.k_h * v_th * (self.tau_mem / self.tau_syn) * math.sqrt(2 / self.num_neurons)
        return r_in, r_h, self.k_out * math.sqrt(1 / self.num_neurons)

    def init(self, key: jax.Array) -> Params:
        k_in, k_h, k_out = jax.random.split(key, 3)
        n = self.num_neurons
        inputs = self.observation_size * (2 if self.signed_inputs else 1)
        return {
            "in": jax.random.normal(k_in, (inputs, n)),
            "h": jax.random.normal(k_h, (n, n)),
            "out": jax.random.normal(k_out, (n, self.action_size)),
        }

    def initial_carry(self, key: jax.Array) -> DenseSNNCarry:
        v = initial_membrane(key, self.num_neurons, self.neuron, self.random_initial_v)
        silent = jnp.zeros(self.num_neurons, jnp.float32)
        return DenseSNNCarry(CurrentLIFState(v, silent), silent, silent)

    def apply(self, params: Params, carry: DenseSNNCarry, obs: jax.Array) -> tuple[DenseSNNCarry, jax.Array]:
        r_in, r_h, r_out = self.scales
        sign = jnp.ones(self.num_neurons)
        if self.dale:
            params = jax.tree.map(jnp.abs, params)
            sign = jnp.where(jnp.arange(self.num_neurons) < round(self.num_neurons * self.excitatory_ratio), 1.0, -1.0)
        x = jnp.concatenate([obs, -obs]) if self.signed_inputs else obs
        input_current = r_in * (x @ params["in"])

        def substep(_: jax.Array, c: DenseSNNCarry) -> DenseSNNCarry:
            neurons, s = current_lif(c.neurons, r_h * (c.spikes @ params["h"]), input_current, self.neuron, heaviside)
            return DenseSNNCarry(neurons, spike_trace(c.trace, sign * s, self.neuron), sign * s)

        carry = lax.fori_loop(0, substeps(self.sim_time, self.dt), substep, carry)
        return carry, r_out * (carry.trace @ params["out"])

    def metrics(self, carry: DenseSNNCarry) -> dict[str, jax.Array]:
        """Mean firing rate (spikes per ms and neuron, low-passed) and mean |i_syn|."""
        return {"spike/rate": jnp.mean(jnp.abs(carry.trace)), "spike/i_syn": jnp.mean(jnp.abs(carry.neurons.i_syn))}
