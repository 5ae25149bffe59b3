"""`python -m benchmarks.continual`: environment steps a second of SAC under the continual methods, updates included, beside
stock Stable-Baselines3; and what an update of each method costs beside one of ft_1."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from benchmarks.hebbian import best_times
from policies.precision import PRECISIONS
from trainers.continual.config import defaults
from trainers.continual.loop import ContinualRun
from trainers.continual.methods import METHODS
from trainers.continual.methods.base import Judge
from trainers.continual.sac import ContinualSAC

SCENARIO = "halfcheetah/forgetting"
FEW: dict[str, dict[str, Any]] = {
    "packnet": {"retrain_updates": 1},
    "csp": {"candidates": 8, "states": 8},
    "ewc": {"samples": 8},
}
"""Less work between two tasks, which is not timed."""
NETWORKS = {"net_arch": [256, 256, 256], "activation_fn": torch.nn.LeakyReLU}


@dataclass
class Config:
    """What is compared."""

    steps: int = 640
    """Environment steps that are timed, each with half an update."""
    updates: int = 64
    """Updates of a method that are timed together."""
    rounds: int = 14
    """How often each is timed, in turns."""


def stock(steps: int) -> Callable[[], Any]:
    """Stable-Baselines3 on Gymnasium's HalfCheetah, as many updates for each step and the same networks."""
    env = DummyVecEnv([lambda: gymnasium.make("HalfCheetah-v5")])
    model = SAC("MlpPolicy", env, train_freq=2, learning_starts=0, policy_kwargs=NETWORKS, device="cpu")

    def learn() -> None:
        model.learn(steps, reset_num_timesteps=False)

    return learn


def ours(steps: int, precision: str) -> Callable[[], Any]:
    """ft_1 in the published setting, in the first task."""
    learner = learner_of("ft_1", tasks=1, precision=precision)

    def learn() -> None:
        learner.learn(steps, reset_num_timesteps=False)

    return learn


def learner_of(method: str, tasks: int = 2, **changes: Any) -> ContinualSAC:
    """A learner in the published setting, in the last of so many tasks; from the second on all that a method adds is there.
    Its trials in the environment, which are no updates, all return 0."""
    config = defaults(method, SCENARIO)
    config = dataclasses.replace(config, learning_starts=0, arguments=config.arguments | FEW.get(method, {}), **changes)
    run = ContinualRun(config)
    run.logger = Logger(None, [])
    judge = Judge(lambda actor, episodes: np.zeros(episodes), lambda actor, n, steps: np.zeros(n))
    for task in range(tasks):
        run.task = task
        run.method.before_task(task, judge)
        learner = run._make_learner()
        learner.learn(2 * config.n_envs, reset_num_timesteps=False)
        if task + 1 < tasks:
            run.method.after_task(learner, judge)
    return learner


def main(config: Config) -> None:
    """Print both tables."""
    calls = {"stock SAC, MuJoCo, 1 environment": stock(config.steps)}
    calls |= {f"ft_1, Brax v1, 128 environments, {name}": ours(config.steps, name) for name in PRECISIONS}
    seconds = best_times(list(calls.values()), config.rounds)
    print(f"HalfCheetah, half an update a step, batch 256, networks 256-256-256, {torch.get_num_threads()} threads")
    print(f"{'':48s}{'steps/s':>10s}{'times stock':>13s}")
    for name, spent in zip(calls, seconds, strict=True):
        print(f"{name:48s}{config.steps / spent:10.0f}{seconds[0] / spent:13.2f}")
    learners = {method: learner_of(method) for method in METHODS}

    def updates(learner: ContinualSAC) -> Callable[[], Any]:
        learner.policy.set_training_mode(True)
        return lambda: [learner.update(batch) for batch in learner.sample(config.updates, 256)]

    each = dict(zip(learners, best_times([updates(x) for x in learners.values()], config.rounds), strict=True))
    print(f"{'an update in the second task':30s}{'ms':>8s}{'times ft_1':>12s}")
    for method, spent in sorted(each.items(), key=lambda item: item[1]):
        print(f"{method:30s}{1000 * spent / config.updates:8.2f}{spent / each['ft_1']:12.2f}")


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m benchmarks.continual"))
