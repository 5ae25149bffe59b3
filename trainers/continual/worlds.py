"""Environments of a scenario's tasks, and playing in them."""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from envs.continual.scenarios import Scenario, Task
from trainers.make_env import make_vec_env

MOST_COPIES = 16
"""Environments side by side for playing, where each costs a simulator of its own."""


class Played(NamedTuple):
    """Episodes; all arrays (episodes,)."""

    returns: np.ndarray
    success: np.ndarray
    """Whether the task was solved at any step; NaN where the environment does not tell."""
    last_success: np.ndarray
    """Whether it was at the last step."""
    steps: int
    """Environment steps that were taken, those past the end of counted episodes included."""


def make_world(task: Task, max_episode_steps: int, n_envs: int, seed: int) -> VecEnv:
    """So many copies of a task's environment, whose episodes are truncated after so many steps."""
    env = make_vec_env(task.env_id, n_envs, seed, dict(task.env_kwargs) | {"max_episode_steps": max_episode_steps})
    if env.num_envs == n_envs:
        return env
    from envs.brax.vec_env import BraxVecEnv

    assert isinstance(env, BraxVecEnv)
    return BraxVecEnv(env.task, n_envs, seed=seed)


def check_spaces(scenario: Scenario) -> tuple[spaces.Box, spaces.Box]:
    """Observation and action space of all tasks; ValueError unless they are the same Boxes."""
    found: dict[str, tuple[Any, Any]] = {}
    for task in scenario.tasks:
        if task.name not in found:
            env = make_world(task, scenario.max_episode_steps, 1, 0)
            found[task.name] = env.observation_space, env.action_space
            if scenario.metric == "success" and isinstance(env.action_space, spaces.Box):
                _check_success(env, task)
            env.close()
    first = scenario.tasks[0].name
    for name, own in found.items():
        for what, a, b in zip(("observations", "actions"), found[first], own, strict=True):
            if not isinstance(b, spaces.Box):
                raise ValueError(f"'{name}' of {scenario.name} has {what} {b}; continual methods take a Box.")
            if a.shape != b.shape or (what == "actions" and not (np.allclose(a.low, b.low) and np.allclose(a.high, b.high))):
                raise ValueError(
                    f"The tasks of {scenario.name} differ in their {what}: {a} in '{first}', {b} in '{name}'. No method here "
                    "can go from one to the other; give a scenario whose tasks agree."
                )
    return found[first]


def _check_success(env: VecEnv, task: Task) -> None:
    env.reset()
    _, _, _, infos = env.step(np.array([env.action_space.sample()]))
    if "success" not in infos[0]:
        raise ValueError(f"The metric is success, but '{task.name}' ({task.env_id}) tells of none; give metric: return.")


class Player:
    """Acts for a network of actions in [-1, 1] in an environment."""

    def __init__(self, env: VecEnv, actor: nn.Module, device: torch.device) -> None:
        self.env, self.actor, self.device = env, actor, device
        assert isinstance(env.action_space, spaces.Box)
        self.low, self.high = env.action_space.low, env.action_space.high

    @torch.no_grad()
    def act(self, obs: Any) -> np.ndarray:
        """Actions in the environment's own range, without noise."""
        actions: Any = self.actor(torch.as_tensor(obs, device=self.device), deterministic=True)
        return self.low + 0.5 * (actions.cpu().numpy() + 1.0) * (self.high - self.low)


def play(env: VecEnv, actor: nn.Module, episodes: int, seed: int, device: torch.device) -> Played:
    """Whole episodes, as many in each environment as are needed; the same seed, the same starts."""
    actor.eval()
    player, count = Player(env, actor, device), env.num_envs
    wanted = np.array([len(range(i, episodes, count)) for i in range(count)])  # of each environment
    results: list[tuple[float, ...]] = []
    ret, done_count = np.zeros(count), np.zeros(count, int)
    steps = 0
    any_success, last = np.full(count, np.nan), np.full(count, np.nan)
    env.seed(seed)
    obs: Any = env.reset()
    while (done_count < wanted).any():
        obs, rewards, dones, infos = env.step(player.act(obs))
        steps += count
        ret += rewards
        for i, info in enumerate(infos):
            if "success" in info:
                last[i] = float(info["success"])
                any_success[i] = np.fmax(any_success[i], last[i])
        for j in np.flatnonzero(dones & (done_count < wanted)):
            results.append((int(done_count[j]), int(j), ret[j], any_success[j], last[j]))
        done_count += dones
        ret[dones], any_success[dones], last[dones] = 0.0, np.nan, np.nan
    table = np.array(sorted(results))
    return Played(table[:, 2], table[:, 3], table[:, 4], steps)


def earn(env: VecEnv, actor: nn.Module, steps: int, seed: int, device: torch.device) -> tuple[np.ndarray, int]:
    """What each environment earns in so many steps, over the ends of episodes, (n,); and the steps of all."""
    actor.eval()
    player, total = Player(env, actor, device), np.zeros(env.num_envs)
    env.seed(seed)
    obs: Any = env.reset()
    for _ in range(steps):
        obs, rewards, _, _ = env.step(player.act(obs))
        total += rewards
    return total, steps * env.num_envs
