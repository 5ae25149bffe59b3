"""`python -m benchmarks.ec_throughput`: whole EC generations against the bare physics of the same batch."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from trainers.devices import use_all_cores


@dataclass
class Config:
    """What is compared."""

    env: str = "Humanoid"
    physics: str = "v1"
    population: int = 256
    rounds: int = 9
    """How often each side is timed, in turns, after a generation that compiles."""
    generations: int = 3
    """Generations of a round."""
    steps: int = 200
    """Steps of the bare physics of a round."""


def bare_physics(task: Any, batch: int, steps: int) -> Callable[[], float]:
    """A function that gives env-steps/s of the batch under constant actions, spread over all devices."""
    mesh = Mesh(np.array(jax.local_devices()), ("device",))
    part = PartitionSpec("device")

    def play(states: Any) -> Any:
        actions = jnp.zeros((states.obs.shape[0], task.action_size))
        return lax.fori_loop(0, steps, lambda _, s: jax.vmap(task.step)(s, actions), states)

    def spread(function: Callable[[Any], Any]) -> Any:
        return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=part, out_specs=part, check_vma=False))

    batch -= batch % len(jax.local_devices())
    states = spread(jax.vmap(task.reset))(jax.random.split(jax.random.key(0), batch))
    steps_of = spread(play)
    jax.block_until_ready(steps_of(states))

    def rate() -> float:
        start = time.perf_counter()
        jax.block_until_ready(steps_of(states))
        return batch * steps / (time.perf_counter() - start)

    return rate


def main(config: Config) -> None:
    """Print the table."""
    use_all_cores()
    from envs.brax.vec_env import BraxVecEnv
    from trainers.ec import EC

    env = BraxVecEnv(config.env, 1, config.physics, seed=0)
    bare_rate = bare_physics(env.task, config.population, config.steps)
    model = EC("RSNNPolicy", env, population_size=config.population, seed=0, eval_episodes=16)
    model.learn(generations=1)
    bare, rates = [], []
    for done in range(config.rounds):
        bare.append(bare_rate())
        before, start = model.num_timesteps, time.perf_counter()
        model.learn(generations=1 + (done + 1) * config.generations, reset_num_timesteps=False)
        rates.append((model.num_timesteps - before) / (time.perf_counter() - start))
    ratios = np.divide(rates, bare)
    lengths = [row["rollout/ep_len_mean"] for row in model.history[1:]]
    devices = jax.local_devices()
    print(f"{config.env} ({config.physics}), population {config.population}, {len(devices)} x {devices[0].device_kind}")
    print(f"{'':44s}{'env-steps/s':>14s}{'ratio':>8s}")
    print(f"{'bare physics, constant actions':44s}{np.median(bare):14,.0f}{1.0:8.2f}")
    print(f"{'EC generations (alive steps; all included)':44s}{np.median(rates):14,.0f}{np.median(ratios):8.2f}")
    print(f"medians of {config.rounds} rounds; ratios from {ratios.min():.2f} to {ratios.max():.2f}")
    print(f"episodes of {np.min(lengths):.0f} to {np.max(lengths):.0f} steps; generation = sampling, networks, physics, "
          "refills, evaluation, update")  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m benchmarks.ec_throughput"))
