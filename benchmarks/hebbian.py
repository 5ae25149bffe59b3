"""`python -m benchmarks.hebbian`: steps of plastic networks against a compiled loop over synapses and the memory's speed, and
what whole generations spend their time on.

The loop needs numba, which nothing else here does: pip install numba.
"""

import importlib.util
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import tyro
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from torch.nn import functional

from policies.population import Hebbian
from trainers.devices import use_all_cores


@dataclass
class Config:
    """Sizes of the comparison."""

    population: int = 256
    observation_size: int = 28
    action_size: int = 8
    repeats: int = 100
    loop_members: int = 128
    """Members that each process updates with the loop."""


def best_times(calls: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Fastest of several runs of each call, in seconds, after one that compiles; in turn, so that all meet the same noise."""
    for call in calls:
        jax.block_until_ready(call())
    best = [float("inf")] * len(calls)
    for _ in range(repeats):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            jax.block_until_ready(call())
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def compiled_loop() -> Callable[..., None]:
    """The update of one layer as the published code has it: one synapse after the other, a row of coefficients each."""
    from numba import njit

    @njit
    def update(table: np.ndarray, weights: np.ndarray, pre: np.ndarray, post: np.ndarray) -> None:
        """`table` (inputs * outputs, 5) in the order A, B, C, eta, D; `weights` (outputs, inputs), changed in place."""
        outputs = weights.shape[0]
        for i in range(weights.shape[1]):
            for j in range(outputs):
                c = table[i * outputs + j]
                weights[j, i] += c[3] * (c[0] * pre[i] * post[j] + c[1] * pre[i] + c[2] * post[j] + c[4])

    return update


Layers = list[tuple[np.ndarray, np.ndarray]]
"""Of one member: each layer's table of coefficients and weights (outputs, inputs)."""


def lean_step(update: Callable[..., None], layers: Layers, obs: np.ndarray) -> None:
    """A step with as little around the loop as Python allows."""
    x, activities = obs, [obs]
    for i, (_, weights) in enumerate(layers):
        x = weights @ x
        x = np.tanh(x) if i < len(layers) - 1 else x
        activities.append(x)
    for i, (table, weights) in enumerate(layers):
        update(table, weights, activities[i], activities[i + 1])
        weights /= np.abs(weights).max()


@torch.no_grad()
def published_step(update: Callable[..., None], layers: Layers, obs: np.ndarray) -> None:
    """A step as the published code takes it: the network in PyTorch, one member at a time, its weights seen by the loop."""
    x = torch.as_tensor(obs)
    activities = [x]
    for i, (_, weights) in enumerate(layers):
        x = functional.linear(x, torch.from_numpy(weights))
        x = torch.tanh(x) if i < len(layers) - 1 else x
        activities.append(x)
    for i, (table, weights) in enumerate(layers):
        update(table, weights, activities[i].numpy(), activities[i + 1].numpy())
        shared = torch.from_numpy(weights)
        shared /= shared.abs().max()


LOOPS: dict[str, tuple[Callable[..., None], type]] = {
    "published loop": (published_step, np.float64),  # coefficients come from NumPy's generator
    "lean loop": (lean_step, np.float32),
}
"""Steps that go over synapses, and how precise their coefficients are."""


def loop_steps(config: Config, name: str, barrier: Any, seconds: Any) -> None:
    """Time the steps of `loop_members` members, one after the other."""
    torch.set_num_threads(1)
    one_step, precision = LOOPS[name]
    update, rng = compiled_loop(), np.random.default_rng(0)
    shapes = Hebbian(config.observation_size, config.action_size).shapes

    def member() -> Layers:
        return [
            (rng.normal(size=(i * o, 5)).astype(precision), rng.uniform(-0.1, 0.1, (o, i)).astype(np.float32))
            for i, o in shapes
        ]

    members = [member() for _ in range(config.loop_members)]
    obs = rng.normal(size=(config.loop_members, config.observation_size)).astype(np.float32)

    def step() -> None:
        for layers, x in zip(members, obs, strict=True):
            one_step(update, layers, x)

    step()
    barrier.wait()  # every core is as busy as it will be before the clock starts
    seconds.put(best_times([step], config.repeats)[0])


def time_of_the_loop(config: Config, name: str, processes: int) -> float:
    """Seconds per member's step when that many processes share the population."""
    context = multiprocessing.get_context("spawn")
    barrier, seconds = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=loop_steps, args=(config, name, barrier, seconds)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    slowest = max(seconds.get() for _ in workers)
    for worker in workers:
        worker.join()
    return slowest / (config.loop_members * processes)


def main(config: Config) -> None:
    """Print the table."""
    use_all_cores()
    devices = jax.local_devices()
    population = config.population - config.population % len(devices)
    mesh, part = Mesh(np.array(devices), ("device",)), PartitionSpec("device")

    def spread(f: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """A function of the members' arrays, cut over the devices."""
        return jax.jit(jax.shard_map(f, mesh=mesh, in_specs=part, out_specs=part, check_vma=False), **options)

    def place(tree: Any) -> Any:
        return jax.device_put(tree, NamedSharding(mesh, part))

    network = Hebbian(config.observation_size, config.action_size)
    keys = jax.random.split(jax.random.key(0), population)
    params = place(jax.jit(jax.vmap(network.init))(keys))
    carry = place(jax.jit(jax.vmap(network.initial_carry))(keys))
    obs = place(jax.random.normal(jax.random.key(1), (population, config.observation_size)))

    # Coefficients are read, weights read and written: the least that any step must move, in the same arrays.
    def touch(params: Any, weights: Any) -> Any:
        return jax.tree.map(lambda w, c: w + sum(x.astype(w.dtype) for x in c.values()), weights, params)

    def repeated(f: Callable[..., Any], params: Any, state: Any, *inputs: Any) -> Callable[[], Any]:
        """`f(params, state, *inputs)`, whose result takes the place of the state, also in memory."""
        held = jax.tree.map(jnp.copy, state)

        def call() -> Any:
            nonlocal held
            held = f(params, held, *inputs)
            return held

        return call

    step = spread(lambda p, c, x: jax.vmap(network.apply)(p, c, x)[0], donate_argnums=1)
    forward = spread(lambda p, c, x: jax.vmap(network.apply)(p, c, x)[1])
    half = jax.tree.map(lambda p: p.astype(jnp.float16), params)
    calls = [
        repeated(spread(touch, donate_argnums=1), params, carry.weights),
        repeated(step, params, carry, obs),
        repeated(spread(touch, donate_argnums=1), half, carry.weights),
        repeated(step, half, carry, obs),
        lambda: forward(params, carry, obs),
    ]
    floor, fast, half_floor, half_fast, products = best_times(calls, config.repeats)
    rows = [
        ("memory floor", floor),
        ("JAX, whole step", fast),
        ("memory floor, float16", half_floor),
        ("JAX, float16", half_fast),
        ("  matrix products alone", products),
    ]
    processes = os.cpu_count() or 1
    if importlib.util.find_spec("numba"):
        for name in LOOPS:
            rows.append((f"{name}, 1 process", population * time_of_the_loop(config, name, 1)))
            rows.append((f"{name}, {processes} processes", population * time_of_the_loop(config, name, processes)))
    else:
        print("The loop over synapses needs numba: pip install numba")
    sizes = "-".join(str(i) for i in (config.observation_size, *network.hidden_sizes, config.action_size))
    connections = sum(i * o for i, o in network.shapes)
    moved = 4 * connections * 7 * population
    print(f"{network.hebb_rule} in {sizes}, population {population}, {len(devices)} x {devices[0].device_kind}")
    print(f"{'':28s}{'updates/s':>14s}{'us/member':>12s}{'ratio':>9s}{'to float16':>12s}")
    for name, seconds in rows:
        ratios = f"{seconds / fast:8.1f}x{seconds / half_fast:11.1f}x"
        print(f"{name:28s}{population / seconds:14,.0f}{1e6 * seconds / population:12.1f}{ratios}")
    print(
        f"The floor moves {moved / 1e6:.0f} MB at {moved / floor / 1e9:.1f} GB/s; the step takes {fast / floor:.2f} times it, "
        f"with coefficients in float16 {half_fast / half_floor:.2f} times theirs."
    )


if __name__ == "__main__":
    from benchmarks import generations  # not in the processes of the loop

    main(tyro.cli(Config, prog="python -m benchmarks.hebbian"))
    generations.main()
