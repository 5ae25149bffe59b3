"""`python -m benchmarks.envs`: steps/s of our environments over those that they stand beside, random actions, one core."""

import os
import time
import warnings
from importlib.util import find_spec
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


class EnvPoolRunner(Runner):
    """EnvPool's environment on one thread."""

    def __init__(self, env_id: str) -> None:
        import envpool

        self.env = envpool.make(env_id, "gymnasium", num_envs=1, num_threads=1, seed=0)
        self.env.action_space.seed(0)
        self.actions = [self.env.action_space.sample()[None] for _ in range(1000)]
        self.env.reset()


def compare(a: Runner, b: Runner, rounds: int = 5, seconds: float = 1.5) -> Any:
    """Median rates of both, measured in turns."""
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

    car = "CarRacingEarlyStop-v0"
    for patience, stop in ((None, "no early stop"), (20, "early stop")):
        for renderer in ("exact", "fast"):
            ours = Runner(car, renderer=renderer, patience=patience)
            row(f"{car} {renderer}, {stop} / CarRacing-v3", compare(ours, Runner("CarRacing-v3")))
    if find_spec("envpool"):
        ours = Runner(car, renderer="fast", patience=None)
        row(f"{car} fast, no early stop / EnvPool", compare(ours, EnvPoolRunner("CarRacing-v3")))
    row("DamagedAnt-v0 damaged / Ant-v5", compare(Runner("DamagedAnt-v0", damage="front_left_short"), Runner("Ant-v5")))
    row("RobotTrajectory-v0 / Pendulum-v1", compare(Runner("RobotTrajectory-v0"), Runner("Pendulum-v1")))
    print(f"2,000 resets of {car}: {growth(car):+.1f} MB")
    changing = growth("DamagedAntBullet-v0", damage={"none": 0.5, "front_right_short": 0.5})
    print(f"2,000 resets of DamagedAntBullet-v0 with changing bodies: {changing:+.1f} MB")
    row("BraxVecEnv of 256 Humanoids / bare jitted step", brax_vec_env())


if __name__ == "__main__":
    main()
