"""`python -m benchmarks.strategies`: sample + update of the strategies, beside evosax's OpenAI-ES and pycma's sep-CMA."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.sharding import Mesh, PartitionSpec

from trainers.devices import on_all_devices, use_all_cores
from trainers.strategies import (
    DistributionalCrossover,
    EvolutionStrategy,
    EvolvingConnectivity,
    SignalAwareTrustRegion,
)
from trainers.strategies.cma import CMA

REFERENCE = "Open_ES of evosax"
HOPPER = {"bits": "generation of EC on Hopper", "floats": "generation of ES on Hopper"}
"""What a strategy's time is a share of, by what it evolves."""
BITS = ("EC", "DC", "SATR")
STRATEGIES: dict[str, Callable[[int], Any]] = {
    "EC": EvolvingConnectivity,
    "DC": DistributionalCrossover,
    "SATR": SignalAwareTrustRegion,
    "ES": EvolutionStrategy,
}
"""Name -> strategy of a population size; each is timed with all kernels that it takes."""


@dataclass
class Config:
    """What is compared."""

    parameters: int = 200_000
    population: int = 1024
    rounds: int = 5
    """How often each is timed, in turns, after a call that compiles."""
    cma: bool = True
    """Whether sep-CMA by pycma takes part, which is slow and wants some 20 GB for a thousand members."""
    hopper: bool = True
    """Whether whole generations on Hopper are timed too: of EC, and of ES with its spiking network."""
    played: int = 20
    """Generations that both play before; in the first ones Hopper falls at once, so that they are unusually short."""


def ours(strategy: Any, kernels: dict[str, jax.Array]) -> Callable[[], None]:
    """Sampling as rollouts do it, members shared out over the devices, and the update."""
    mesh = Mesh(np.array(jax.local_devices()), ("device",))
    split, whole = PartitionSpec("device"), PartitionSpec()
    state = strategy.init(jax.random.key(0), kernels)
    steps = {name: jnp.float32(0.1) for name in ("learning_rate", "sigma") if name in state._fields}
    state = on_all_devices(state._replace(**steps))
    spread = jax.shard_map(strategy.sample, mesh=mesh, in_specs=(whole, whole, split), out_specs=split, check_vma=False)
    sample, key = jax.jit(spread), jax.random.key(1)
    update = strategy.update if getattr(strategy, "on_host", False) else jax.jit(strategy.update)
    members = jnp.arange(strategy.population_size)
    fitness = jax.random.normal(jax.random.key(2), members.shape)

    def generation() -> None:
        jax.block_until_ready(sample(state, key, members))
        jax.block_until_ready(update(state, key, fitness)[0])

    return generation


def evosax_alone(name: str, population: int, parameters: int) -> Callable[[], None]:
    """ask + tell of evosax as its users call them."""
    from evosax.algorithms import algorithms

    algorithm = algorithms[name](population_size=population, solution=jnp.zeros(parameters))
    params = algorithm.default_params
    state = algorithm.init(jax.random.key(0), jnp.zeros(parameters), params)
    fitness = jax.random.normal(jax.random.key(2), (population,))

    def generation() -> None:
        members, asked = algorithm.ask(jax.random.key(1), state, params)
        jax.block_until_ready(members)
        told, _ = algorithm.tell(jax.random.key(1), members, fitness, asked, params)
        jax.block_until_ready(told)

    return generation


def hopper_generation(kind: str, population: int, played: int) -> Callable[[], None]:
    """A generation of EC or ES on Hopper with the network that is its default, after so many."""
    from trainers.ec import EC
    from trainers.es import ES

    cls, policy = (EC, "RSNNPolicy") if kind == "bits" else (ES, "DenseSNNPolicy")
    model = cls(policy, "BraxHopper-v0", population_size=population, seed=0)
    model.learn(generations=played)

    def generation() -> None:
        model.learn(generations=model.generation + 1, reset_num_timesteps=False)

    return generation


def main(config: Config) -> None:
    """Print the table."""
    use_all_cores()
    side = 400
    kernels = {"w": jnp.zeros((side, config.parameters // side))}
    timed = {REFERENCE: evosax_alone("Open_ES", config.population, kernels["w"].size)}
    timed |= {name: ours(make(config.population), kernels) for name, make in STRATEGIES.items()}
    if config.cma:
        timed["sep-CMA of pycma"] = ours(CMA(config.population, "sep"), kernels)
    if config.hopper:
        timed |= {name: hopper_generation(kind, config.population, config.played) for kind, name in HOPPER.items()}
    for call in timed.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(config.rounds):
        for name, call in timed.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    devices = jax.local_devices()
    print(f"{kernels['w'].size:,} parameters, population {config.population}, {len(devices)} x {devices[0].device_kind}")
    print(f"{'sample + update':36s}{'seconds':>10s}{'speed':>8s}{'from':>7s}{'to':>7s}{'share':>8s}")
    for name, own in seconds.items():
        speed = np.divide(seconds[REFERENCE], own)  # of the same round
        whole = seconds.get(HOPPER["bits" if name in BITS else "floats"])
        share = f"{np.median(np.divide(own, whole)):8.0%}" if whole and name not in HOPPER.values() else ""
        print(f"{name:36s}{np.median(own):10.3f}{np.median(speed):8.2f}{speed.min():7.2f}{speed.max():7.2f}{share}")
    print(
        f"speed: that of {REFERENCE} is 1; medians and extremes of {config.rounds} rounds in turns; share: of a "
        f"generation, that of EC for {', '.join(BITS)}"
    )


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m benchmarks.strategies"))
