"""The one-bit recurrent spiking network that Evolving Connectivity evolves."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from policies.equations.neurons import CurrentLIF, CurrentLIFState, current_lif, spike_trace
from policies.population.spiking import heaviside, initial_membrane, substeps
from policies.population.synapses import pack, pack_spikes, spike_count, weighted_sum

Params = dict[str, jax.Array]


class RSNNCarry(NamedTuple):
    """Neurons (v, i_syn: float32 (N,)), spike trace (N,) per ms, spikes of the last substep (uint8 (N,), 0 or 1)."""

    neurons: CurrentLIFState
    trace: jax.Array
    spikes: jax.Array


@dataclass(frozen=True)
class RSNN:
    """Recurrent spiking network with boolean synapses and Dale's law (arXiv 2305.17650).

    The first `round(num_neurons * excitatory_ratio)` neurons are excitatory, the others inhibitory. All synapses have
    one magnitude per kernel; a synapse either exists or does not. Each observation channel x enters twice, as +x
    (`in_exc`) and -x (`in_inh`). Every environment step simulates `sim_time` ms in substeps of `dt` ms (33 by default).

    Parameters: uint32 words (see `synapses.pack`) for the boolean kernels
    `in_exc`, `in_inh` (D, N), `h_exc` (N_exc, N), `h_inh` (N_inh, N), `out_exc` (N_exc, A), `out_inh` (N_inh, A).
    The scales assume a connection density of `expected_density`; k_in, k_h, k_out are the published gains.
    `self_connections=False` silences the diagonal of the recurrent kernel.

    Raises ValueError when a population of neurons would be empty or a time constant is not positive.
    """

    one_bit: ClassVar[bool] = True

    observation_size: int
    action_size: int
    num_neurons: int = 256
    excitatory_ratio: float = 0.5
    expected_density: float = 0.5
    k_in: float = 0.1
    k_h: float = 1.0
    k_out: float = 5.0
    sim_time: float = 16.6
    dt: float = 0.5
    tau_syn: float = 5.0
    tau_mem: float = 10.0
    tau_out: float = 10.0
    random_initial_v: bool = True
    self_connections: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.num_excitatory < self.num_neurons:
            raise ValueError(
                f"num_neurons={self.num_neurons} with excitatory_ratio={self.excitatory_ratio} leaves no excitatory or "
                "no inhibitory neurons; use at least 2 neurons and a ratio strictly between 0 and 1."
            )
        substeps(self.sim_time, self.dt)

    @property
    def num_excitatory(self) -> int:
        return round(self.num_neurons * self.excitatory_ratio)

    @property
    def neuron(self) -> CurrentLIF:
        return CurrentLIF(self.dt, self.tau_syn, self.tau_mem, self.tau_out)

    @property
    def scales(self) -> tuple[float, float, float]:
        """(R_in, R_h, R_out): current per unit input, current per spike, output per (spike / ms)."""
        p, n, c = self.expected_density, self.num_neurons, self.neuron
        r_in = self.k_in * c.v_th * self.tau_mem * math.sqrt(2 / (p * self.observation_size))
        r_h = self.k_h * c.v_th * (self.tau_mem / self.tau_syn) * math.sqrt(2 / (p * n))
        return r_in, r_h, self.k_out * math.sqrt(1 / (p * n))

    @property
    def kernels(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes (presynaptic, postsynaptic) of the boolean kernels."""
        d, n, a = self.observation_size, self.num_neurons, self.action_size
        exc, inh = self.num_excitatory, n - self.num_excitatory
        rows = {"in_exc": (d, n), "in_inh": (d, n), "h_exc": (exc, n), "h_inh": (inh, n)}
        rows |= {"out_exc": (exc, a), "out_inh": (inh, a)}
        return {name: jax.ShapeDtypeStruct(shape, jnp.bool_) for name, shape in rows.items()}

    def init(self, key: jax.Array) -> Params:
        """Independent fair coins for every synapse, packed."""
        keys = jax.random.split(key, len(self.kernels))
        return {
            name: pack(jax.random.bernoulli(k, 0.5, kernel.shape))
            for k, (name, kernel) in zip(keys, self.kernels.items(), strict=True)
        }

    def initial_carry(self, key: jax.Array) -> RSNNCarry:
        v = initial_membrane(key, self.num_neurons, self.neuron, self.random_initial_v)
        silent = jnp.zeros(self.num_neurons, jnp.float32)
        return RSNNCarry(CurrentLIFState(v, silent), silent, jnp.zeros(self.num_neurons, jnp.uint8))

    def apply(self, params: Params, carry: RSNNCarry, obs: jax.Array) -> tuple[RSNNCarry, jax.Array]:
        r_in, r_h, r_out = self.scales
        exc = self.num_excitatory
        h_exc, h_inh = params["h_exc"], params["h_inh"]
        if not self.self_connections:
            h_exc, h_inh = self._without_diagonal(h_exc, h_inh)
        input_current = r_in * weighted_sum(params["in_exc"], obs, params["in_inh"])

        def substep(_: jax.Array, c: RSNNCarry) -> RSNNCarry:
            count = spike_count(h_exc, pack_spikes(c.spikes[:exc])) - spike_count(h_inh, pack_spikes(c.spikes[exc:]))
            neurons, s = current_lif(c.neurons, r_h * count.astype(jnp.float32), input_current, self.neuron, heaviside)
            return RSNNCarry(neurons, spike_trace(c.trace, s, self.neuron), s.astype(jnp.uint8))

        carry = lax.fori_loop(0, substeps(self.sim_time, self.dt), substep, carry)
        readout = weighted_sum(params["out_exc"], carry.trace[:exc]) - weighted_sum(params["out_inh"], carry.trace[exc:])
        return carry, r_out * readout

    def metrics(self, carry: RSNNCarry) -> dict[str, jax.Array]:
        """Mean firing rates (spikes per ms and neuron, low-passed) and mean |i_syn|."""
        exc = self.num_excitatory
        return {
            "spike/rate_exc": jnp.mean(carry.trace[:exc]),
            "spike/rate_inh": jnp.mean(carry.trace[exc:]),
            "spike/i_syn": jnp.mean(jnp.abs(carry.neurons.i_syn)),
        }

    def _without_diagonal(self, h_exc: jax.Array, h_inh: jax.Array) -> tuple[jax.Array, jax.Array]:
        off = ~jnp.eye(self.num_neurons, dtype=bool)
        return h_exc & pack(off[: self.num_excitatory]), h_inh & pack(off[self.num_excitatory :])
