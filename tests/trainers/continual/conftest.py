"""Small actors, a small world, and a judge that says what it is told."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.sac.policies import Actor
from torch import nn

import policies  # noqa: F401  (the names of the spiking policies)
from trainers.continual.methods.base import Activation, Judge, Method
from trainers.continual.sac import ContinualSAC

SMALL = {"MlpPolicy": {"net_arch": [16, 16], "activation_fn": Activation}, "SpikingPolicy": {"net_arch": [16, 16]}}


class Point(gymnasium.Env):
    """Observations are noise and actions near 0.5 (task even) or -0.5 are rewarded; nine steps are an episode."""

    observation_space = spaces.Box(-2, 2, (5,))
    action_space = spaces.Box(-1, 1, (2,))

    def __init__(self, task: int, terminates: bool = False) -> None:
        self.goal = 0.5 if task % 2 == 0 else -0.5
        self.terminates = terminates
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self._look(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        ends = self.steps == 9
        reward = -float(np.square(action - self.goal).sum())
        return self._look(), reward, ends and self.terminates, ends and not self.terminates, {}

    def _look(self) -> np.ndarray:
        return self.np_random.uniform(-2, 2, 5).astype(np.float32)


@pytest.fixture
def actors() -> Callable[..., Callable[[], Actor]]:
    """What makes actors of a policy, as `Method` wants it."""

    def build(policy: str = "MlpPolicy", inputs: int = 5, outputs: int = 2, **kwargs: Any) -> Callable[[], Actor]:
        seen, done = spaces.Box(-2, 2, (inputs,)), spaces.Box(-1, 1, (outputs,))
        make: Any = SAC.policy_aliases[policy]
        return lambda: make(seen, done, lambda _: 1e-3, **(SMALL[policy] | kwargs)).actor

    return build


@pytest.fixture
def judge() -> Callable[..., Judge]:
    """A judge from lists of returns, one for each actor in turn, and of rewards, the same at every time."""

    def build(returns: list[float] | None = None, rewards: list[float] | None = None) -> Judge:
        told = iter(returns or ())

        def judged(actor: nn.Module, episodes: int) -> np.ndarray:
            return np.full(episodes, next(told, 0.0))

        def earned(actor: nn.Module, n: int, steps: int) -> np.ndarray:
            with torch.no_grad():
                assert actor(torch.zeros(n, 5), deterministic=True).shape == (n, 2)
            return np.zeros(n) if rewards is None else np.asarray(rewards)

        return Judge(judged, earned)

    return build


@pytest.fixture
def learner() -> Callable[..., ContinualSAC]:
    """SAC in the small world for the present task of a method."""

    def build(method: Method, policy: str = "MlpPolicy", terminates: bool = False, **kwargs: Any) -> ContinualSAC:
        env = method.wrap(DummyVecEnv([lambda: Point(method.task, terminates)] * 2))
        given: dict[str, Any] = {"buffer_size": 500, "learning_starts": 20, "batch_size": 16, "device": "cpu"}
        given |= {"learning_rate": 3e-3, "seed": 7 + method.task, "policy_kwargs": SMALL[policy]}
        return ContinualSAC(policy, env, method, **(given | kwargs))

    return build


@pytest.fixture
def learn(learner: Callable[..., ContinualSAC], judge: Callable[..., Judge]) -> Callable[..., ContinualSAC]:
    """A task from its start to its end."""

    def run(method: Method, task: int, told: Judge | None = None, steps: int = 60, **kwargs: Any) -> ContinualSAC:
        told = told or judge()
        method.before_task(task, told)
        model = learner(method, **kwargs).learn(steps)
        method.after_task(model, told)
        return model

    return run
