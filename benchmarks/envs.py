"""`python -m benchmarks.envs`: steps/s of our environments over those that they stand beside, random actions, one core."""

import os
import time
import warnings
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import gymnasium
import numpy as np

import envs  # noqa: F401


class Runner:
    """An environment stepped with random actions, episode after episode; resets count."""

    def __init__(self, env_id: str, **kwargs: Any) -> None:
        self.env = gymnasium.make(env_id, **kwargs)
        self.env.action_space.seed(0)
        self.actions = [self.env.action_space.sample() for _ in range(1000)]
        self.env.reset(seed=0)

    def rate(self, seconds: float) -> float:
        steps, start, step = 0, time.perf_counter(), self.env.step
        while time.perf_counter() - start < seconds:
            for action in self.actions[:200]:
                *_, terminated, truncated, _ = step(action)
                if terminated or truncated:
                    self.env.reset()
            steps += 200
        return steps / (time.perf_counter() - start)


def compare(ours: str, reference: str, kwargs: dict[str, Any], rounds: int = 5, seconds: float = 1.5) -> Any:
    """Median rates of both, measured in turns."""
    a, b = Runner(ours, **kwargs), Runner(reference)
    rates = np.array([(a.rate(seconds), b.rate(seconds)) for _ in range(rounds)])
    return np.median(rates[:, 0]), np.median(rates[:, 1]), np.median(rates[:, 0] / rates[:, 1])


def brax_vec_env(width: int = 256, steps: int = 60, rounds: int = 3) -> Any:
    """`BraxVecEnv` against a loop of the bare jitted step, Humanoid v1."""
    import jax

    from envs.brax.vec_env import BraxVecEnv

    venv = BraxVecEnv("Humanoid", width, seed=0)
    task = venv.task
    reset, step = jax.jit(jax.vmap(task.reset)), jax.jit(jax.vmap(task.step))
    state = reset(jax.random.split(jax.random.key(0), width))
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (steps, width, task.action_size)).astype(np.float32)
    venv.reset()
    venv.step(actions[0])
    jax.block_until_ready(step(state, actions[0]))
    rates = []
    for _ in range(rounds):
        start = time.perf_counter()
        for action in actions:
            venv.step(action)
        middle = time.perf_counter()
        for action in actions:
            state = step(state, action)
        jax.block_until_ready(state)
        rates.append((width * steps / (middle - start), width * steps / (time.perf_counter() - middle)))
    ours, bare = np.array(rates).T
    return np.median(ours), np.median(bare), np.median(ours / bare)


def resident() -> float:
    """Megabytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def growth(env_id: str, resets: int = 2000, **kwargs: Any) -> float:
    """Megabytes that the process grows by over resets, after 100 that fill caches."""
    env = gymnasium.make(env_id, **kwargs)
    for k in range(100):
        env.reset(seed=k)
    before = resident()
    for k in range(resets):
        env.reset(seed=k)
    env.close()
    return resident() - before


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    print(f"{'':58s}{'ours':>10s}{'reference':>11s}{'ratio':>8s}")

    def row(name: str, result: Any) -> None:
        print(f"{name:58s}{result[0]:10,.0f}{result[1]:11,.0f}{result[2]:8.2f}", flush=True)

    for renderer in ("exact", "fast"):
        result = compare("CarRacingEarlyStop-v0", "CarRacing-v3", {"renderer": renderer, "patience": None})
        row(f"CarRacingEarlyStop-v0 {renderer} / CarRacing-v3", result)
    row("DamagedAnt-v0 damaged / Ant-v5", compare("DamagedAnt-v0", "Ant-v5", {"damage": "front_left_short"}))
    row("RobotTrajectory-v0 / Pendulum-v1", compare("RobotTrajectory-v0", "Pendulum-v1", {}))
    row("BraxVecEnv of 256 Humanoids / bare jitted step", brax_vec_env())
    print(f"2,000 resets of CarRacingEarlyStop-v0: {growth('CarRacingEarlyStop-v0'):+.1f} MB")


if __name__ == "__main__":
    main()
