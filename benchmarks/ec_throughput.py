"""`python -m benchmarks.ec_throughput`: whole EC generations against the bare physics of the same batch."""

import time
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
    generations: int = 6
    """Generations timed, after one that compiles."""
    steps: int = 100
    """Steps of the bare physics per timing."""


def bare_physics(task: Any, batch: int, steps: int, repeats: int) -> float:
    """Env-steps/s of the batch under constant actions, spread over all devices, resets left out."""
    mesh = Mesh(np.array(jax.local_devices()), ("device",))
    part = PartitionSpec("device")

    def play(keys: jax.Array) -> Any:
        states = jax.vmap(task.reset)(keys)
        actions = jnp.zeros((keys.shape[0], task.action_size))
        return lax.fori_loop(0, steps, lambda _, s: jax.vmap(task.step)(s, actions), states)

    spread = jax.jit(jax.shard_map(play, mesh=mesh, in_specs=part, out_specs=part, check_vma=False))
    batch -= batch % len(jax.local_devices())
    keys = jax.random.split(jax.random.key(0), batch)
    jax.block_until_ready(spread(keys))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(spread(keys))
        times.append(time.perf_counter() - start)
    return batch * steps / min(times)


def main(config: Config) -> None:
    """Print the table."""
    use_all_cores()
    from envs.brax.vec_env import BraxVecEnv
    from trainers.ec import EC

    env = BraxVecEnv(config.env, 1, config.physics, seed=0)
    before = bare_physics(env.task, config.population, config.steps, 3)
    model = EC("RSNNPolicy", env, population_size=config.population, seed=0, eval_episodes=16)
    model.learn(generations=1)
    start_steps, start = model.num_timesteps, time.perf_counter()
    model.learn(generations=1 + config.generations, reset_num_timesteps=False)
    rate = (model.num_timesteps - start_steps) / (time.perf_counter() - start)
    lengths = [row["rollout/ep_len_mean"] for row in model.history[1:]]
    after = bare_physics(env.task, config.population, config.steps, 3)
    bare = (before + after) / 2
    devices = jax.local_devices()
    print(f"{config.env} ({config.physics}), population {config.population}, {len(devices)} x {devices[0].device_kind}")
    print(f"{'':44s}{'env-steps/s':>14s}{'ratio':>8s}")
    print(f"{'bare physics, constant actions':44s}{bare:14,.0f}{1.0:8.2f}")
    print(f"{'EC generations (alive steps; all included)':44s}{rate:14,.0f}{rate / bare:8.2f}")
    print(f"episodes of {np.min(lengths):.0f} to {np.max(lengths):.0f} steps; generation = sampling, networks, physics, "
          "refills, evaluation, update")  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m benchmarks.ec_throughput"))
