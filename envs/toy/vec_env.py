"""Objective functions as a Stable-Baselines3 VecEnv."""

from collections.abc import Callable

import gymnasium
from stable_baselines3.common.vec_env import DummyVecEnv

from envs.toy.env import ToyEnv
from envs.toy.task import ToyTask, make_task


class ToyVecEnv(DummyVecEnv):
    """Toys one after the other; `task` is the same in JAX, by which evolution plays a population in one program."""

    def __init__(self, env_fns: list[Callable[[], gymnasium.Env]]) -> None:
        super().__init__(env_fns)
        toy = self.envs[0].unwrapped
        assert isinstance(toy, ToyEnv)
        self.task: ToyTask = make_task(toy.objective, toy.size)
