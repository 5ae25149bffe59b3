"""What whole generations of plastic networks spend their time on; part of `python -m benchmarks.hebbian`."""

import os
import time
from collections.abc import Callable
from typing import Any

import jax
from stable_baselines3.common.vec_env import VecEnvWrapper

from trainers.config import defaults
from trainers.es import ES
from trainers.run import constructor_arguments

SHORT = {"max_episode_steps": 100}
WORKERS = 4  # on each core, so that the networks' turn is shared by more episodes


def model_of(env: str, **changes: Any) -> ES:
    """ES with the settings of the zoo for HebbianPolicy in `env`, and these changes."""
    config = defaults("es", env, None if env.startswith("CarRacing") else "HebbianPolicy")
    return ES(config.policy, env, **(constructor_arguments(config) | {"eval_episodes": 0} | changes))


def share_of_environments(env: str, generations: int = 2, **changes: Any) -> float:
    """Share of a generation's time that is spent waiting for environments, after a first generation that compiles."""
    model = model_of(env, vec_env="subproc", n_envs=WORKERS * (os.cpu_count() or 1), **changes)
    model.learn(generations=1)
    inner: Any = model.get_env()
    while isinstance(inner, VecEnvWrapper):
        inner = inner.venv
    waited = 0.0

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            nonlocal waited
            start = time.perf_counter()
            result = call(*args, **kwargs)
            waited += time.perf_counter() - start
            return result

        return run

    for name in ("step_async", "step_wait", "env_method", "reset"):
        setattr(inner, name, timed(getattr(inner, name)))
    start = time.perf_counter()
    model.learn(generations=1 + generations, reset_num_timesteps=False)
    share = waited / (time.perf_counter() - start)
    inner.close()
    return share


def generations_per_minute(generations: int = 5) -> float:
    """Of 500 ants in three morphologies, after a first generation that compiles."""
    variants = {"damage": ["none", "front_right_short", "front_left_short"]}
    model = model_of("BraxAnt-v0", population_size=500, variants=variants)
    model.learn(generations=1)
    start = time.perf_counter()
    model.learn(generations=1 + generations, reset_num_timesteps=False)
    return 60 * generations / (time.perf_counter() - start)


def main() -> None:
    """Print shares, and the speed on a GPU if there is one."""
    print(f"Share of a generation that is spent in the environments, {WORKERS} workers on each core, population 64:")
    changes: dict[str, dict[str, Any]] = {
        "CarRacingEarlyStop-v0": {},  # with the fast renderer
        "DamagedAnt-v0": {"variants": None, "env_kwargs": SHORT},
    }
    for precision in ("float32", "float16"):
        for env, own in changes.items():
            share = share_of_environments(env, population_size=64, precision=precision, **own)
            print(f"  {env:24s}{precision:10s}{share:5.0%}", flush=True)
    if jax.default_backend() == "cpu":
        print("No GPU: generations of 500 ants are not timed.")
    else:
        print(f"BraxAnt-v0, population 500, 3 morphologies: {generations_per_minute():.1f} generations a minute")
