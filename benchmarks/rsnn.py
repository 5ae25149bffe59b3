"""`python -m benchmarks.rsnn`: the packed one-bit network against the dense int8 formulation of the published code."""

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from policies.equations.neurons import CurrentLIFState, current_lif, spike_trace
from policies.population import RSNN
from policies.population.spiking import heaviside, substeps
from policies.population.synapses import pack_spikes, spike_count, unpack, weighted_sum
from trainers.devices import use_all_cores
from trainers.strategies import EvolvingConnectivity

EVENTS = 24  # rows that the event-driven form reads at most; more neurons than that hardly ever fire together


@dataclass
class Config:
    """Sizes of the comparison."""

    population: int = 1024
    observation_size: int = 240
    action_size: int = 17
    num_neurons: int = 256
    steps: int = 100
    """Steps over which spikes must be identical."""
    repeats: int = 5
    big_population: int = 10240
    """Population whose packed masks are held to measure memory; 0 to leave out."""


def dense_apply(network: RSNN, kernels: dict[str, jax.Array], state: Any, obs: jax.Array) -> tuple[Any, jax.Array]:
    """The published formulation: boolean kernels cast and multiplied by `dot_general`, spikes as int8, every substep.

    Sums are accumulated in int32, where the published code lets int8 wrap.
    """
    r_in, r_h, r_out = network.scales
    sign = jnp.where(jnp.arange(network.num_neurons) < network.num_excitatory, 1, -1).astype(jnp.int8)
    i_in = r_in * (jnp.concatenate([obs, -obs]) @ kernels["in"].astype(jnp.float32))

    def substep(_: jax.Array, c: Any) -> Any:
        neurons, trace, s = c
        arriving = lax.dot_general(
            s, kernels["h"].astype(jnp.int8), (((0,), (0,)), ((), ())), preferred_element_type=jnp.int32
        )
        neurons, fired = current_lif(neurons, r_h * arriving.astype(jnp.float32), i_in, network.neuron, heaviside)
        s = sign * fired.astype(jnp.int8)
        return neurons, spike_trace(trace, s.astype(jnp.float32), network.neuron), s

    state = lax.fori_loop(0, substeps(network.sim_time, network.dt), substep, state)
    return state, r_out * (state[1] @ kernels["out"].astype(jnp.float32))


def dense_kernels(network: RSNN, params: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Unpacked boolean kernels of one member."""
    k = {name: unpack(params[name], shape.shape[0]) for name, shape in network.kernels.items()}
    return {p: jnp.concatenate([k[f"{p}_exc"], k[f"{p}_inh"]]) for p in ("in", "h", "out")}


def best_time(call: Callable[[], Any], repeats: int) -> float:
    """Fastest of several calls, in seconds, after one that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return min(times)


def main(config: Config) -> None:
    """Print the table."""
    use_all_cores()
    devices = jax.local_devices()
    mesh = Mesh(np.array(devices), ("device",))
    population = config.population - config.population % len(devices)
    network = RSNN(config.observation_size, config.action_size, config.num_neurons)
    split = NamedSharding(mesh, PartitionSpec("device"))

    def place(tree: Any) -> Any:
        return jax.tree.map(lambda x: jax.device_put(x, split), tree)

    def spread(f: Callable[..., Any]) -> Callable[..., Any]:
        """A function of members' arrays, mapped over the population and cut over the devices."""
        part = PartitionSpec("device")
        return jax.jit(jax.shard_map(jax.vmap(f), mesh=mesh, in_specs=part, out_specs=part, check_vma=False))

    keys = jax.random.split(jax.random.key(0), population)
    params = place(jax.vmap(network.init)(keys))
    kernels = place(jax.jit(jax.vmap(lambda p: dense_kernels(network, p)))(params))
    carry = place(jax.vmap(network.initial_carry)(keys))
    n = network.num_neurons
    dense_state = place((carry.neurons, jnp.zeros((population, n)), jnp.zeros((population, n), jnp.int8)))
    packed, dense = spread(network.apply), spread(lambda k, s, x: dense_apply(network, k, s, x))

    exc = network.num_excitatory
    # Observations are multiples of 1/256: sums of them are exact in any order, so that the comparison is of the spikes
    # and not of the rounding of two orders of summation.
    rng, same, spikes = np.random.default_rng(0), True, 0
    state, reference = carry, dense_state
    for _ in range(config.steps):
        values = np.round(256 * rng.normal(size=(population, config.observation_size))) / 256
        obs = place(jnp.asarray(values, jnp.float32))
        state, _ = packed(params, state, obs)
        reference, _ = dense(kernels, reference, obs)
        same &= bool((state.spikes == jnp.abs(reference[2])).all())
        spikes += int(state.spikes.sum(dtype=jnp.int32))
    rate = spikes / (config.steps * population * n)

    fast = best_time(lambda: packed(params, state, obs), config.repeats)
    slow = best_time(lambda: dense(kernels, reference, obs), max(1, config.repeats // 2))

    def recurrent(p: dict[str, jax.Array], c: Any) -> jax.Array:
        def substep(_: jax.Array, total: jax.Array) -> jax.Array:
            spikes = c.spikes ^ (total[0] == 1 << 30)  # depends on the last substep, so that it is not hoisted
            exc_words, inh_words = pack_spikes(spikes[:exc]), pack_spikes(spikes[exc:])
            return total + spike_count(p["h_exc"], exc_words) - spike_count(p["h_inh"], inh_words)

        return lax.fori_loop(0, 33, substep, jnp.zeros(n, jnp.int32))

    def event_driven(kernel: jax.Array, c: Any) -> jax.Array:
        """The same from unpacked signed int8 rows (N, N), reading the rows of up to `EVENTS` spikes only."""

        def substep(_: jax.Array, total: jax.Array) -> jax.Array:
            fired = jnp.nonzero(c.spikes ^ (total[0] == 1 << 30), size=EVENTS, fill_value=n)[0]
            rows = kernel.at[fired].get(mode="fill", fill_value=0)
            return total + rows.sum(axis=0, dtype=jnp.int32)

        return lax.fori_loop(0, 33, substep, jnp.zeros(n, jnp.int32))

    def neurons_only(c: Any) -> Any:
        def substep(_: jax.Array, s: tuple[CurrentLIFState, jax.Array]) -> Any:
            neurons, fired = current_lif(s[0], s[1] * 0.1, s[1], network.neuron, heaviside)
            return neurons, spike_trace(s[1], fired, network.neuron)

        return lax.fori_loop(0, 33, substep, (c.neurons, c.trace))

    signed = place((kernels["h"] * jnp.where(jnp.arange(n) < exc, 1, -1)[:, None]).astype(jnp.int8))
    pieces = {
        "input product": (spread(lambda p, x: weighted_sum(p["in_exc"], x, p["in_inh"])), params, obs),
        "33 spike counts": (spread(recurrent), params, state),
        "33 neuron updates": (spread(neurons_only), state),
        "(33 counts by event)": (spread(event_driven), signed, state),
    }
    times = {name: best_time(functools.partial(f, *a), config.repeats) for name, (f, *a) in pieces.items()}
    sizes = f"{config.observation_size}-{n}-{config.action_size}, population {population}, 33 substeps"
    print(f"RSNN forward, {sizes}, {len(devices)} x {devices[0].device_kind}")
    print(f"{'':26s}{'env-steps/s':>14s}{'us/member':>12s}{'ratio':>9s}")
    for name, seconds in (("dense int8 (published)", slow), ("packed", fast)):
        print(f"{name:26s}{population / seconds:14,.0f}{1e6 * seconds / population:12.1f}{slow / seconds:8.1f}x")
    for name, seconds in times.items():
        print(f"  {name:24s}{'':14s}{1e6 * seconds / population:12.1f}{100 * seconds / fast:8.0f}%")
    print(f"spikes identical over {config.steps} steps: {same} ({100 * rate:.1f}% of neurons fire in a substep)")
    if config.big_population:
        memory(network, config.big_population)


def memory(network: RSNN, population: int) -> None:
    """Bytes of a large packed population, and of the largest array that sampling and the update allocate."""
    strategy = EvolvingConnectivity(population)
    state = jax.eval_shape(lambda: strategy.init(jax.random.key(0), network.kernels))
    members, fitness = jnp.arange(population), jnp.zeros(population)
    key = jax.random.key(1)
    held = sum(math.prod(x.shape) * 4 for x in jax.tree.leaves(jax.eval_shape(strategy.sample, state, key, members)))
    synapses = population * sum(math.prod(k.shape) for k in network.kernels.values())
    print(f"population {population}: {synapses / 1e9:.2f} G synapses, masks held {held / 1e6:.0f} MB "
          f"({4 * synapses / 1e6:,.0f} MB as floats)")  # fmt: skip
    for name, call, args in (("sampling", strategy.sample, (members,)), ("update", strategy.update, (fitness,))):
        analysis = jax.jit(call).lower(state, key, *args).compile().memory_analysis()
        assert analysis is not None
        print(f"  {name}: temporary memory {analysis.temp_size_in_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m benchmarks.rsnn"))
