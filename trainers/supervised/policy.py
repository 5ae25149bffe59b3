"""A network that has learned the inverse movement as a policy of RobotTrajectory-v0."""

from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import envs  # noqa: F401
from envs.robot_arm.controllers import inverse_kinematics, oracle
from policies.reservoir import ReservoirRegressor


class TrajectoryPolicy:
    """Sees where the tip should be, never where it is, and gives joint velocities; works with `evaluate_policy`.

    The environment must give observations of the mode "target" (x, y of the next target and the phase). What `predict` takes
    and gives is what a Stable-Baselines3 model's does; the state of the neurons travels as `state`. What velocities are beyond
    the fastest that the arm can do is made up for in the next steps, so that the path is not lost for good.

    :param network: learned on `RobotTrajectoryDataset(direction="inverse")`, outputs in rad/s
    :param env: a RobotTrajectory-v0 environment, of which only `omega_max` is used
    """

    def __init__(self, network: ReservoirRegressor, env: gymnasium.Env[Any, Any]) -> None:
        arm: Any = env.unwrapped
        if not hasattr(arm, "omega_max") or env.observation_space.shape != (3,):
            raise ValueError(f'{env} is no gymnasium.make("RobotTrajectory-v0", obs_mode="target").')
        self.network = network.eval()
        self.omega_max = float(arm.omega_max)

    @torch.no_grad()
    def predict(
        self,
        observation: np.ndarray,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Actions (B, 2) in [-1, 1] for observations (B, 3), or (2,) for one (3,), and the next state."""
        del deterministic  # there is nothing random in it
        target = torch.as_tensor(np.atleast_2d(observation)[:, :2], dtype=torch.float32)
        rest = (torch.zeros_like(target), *self.network.rest(target))  # the velocities not yet done, and the network's state
        before = rest if state is None else tuple(torch.as_tensor(part) for part in state)
        if episode_start is not None:
            fresh = torch.as_tensor(np.asarray(episode_start, bool))[:, None]
            before = tuple(torch.where(fresh, new, old) for new, old in zip(rest, before, strict=True))
        owed, *inner = before
        omega, _, after = self.network.act(target[None], tuple(inner))
        wanted = (owed + omega[0]) / self.omega_max
        action = wanted.clamp(-1.0, 1.0)
        state = tuple(part.numpy() for part in (self.omega_max * (wanted - action), *after))
        return action.numpy().reshape(*np.shape(observation)[:-1], 2), state


def drive(network: ReservoirRegressor, episodes: int = 100, first_seed: int = 0) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of the return on RobotTrajectory-v0 (250 at most): of the network, which sees the targets
    alone, and of controllers that know the arm, on the same movements."""
    vec_env = make_vec_env("RobotTrajectory-v0", episodes, seed=first_seed, env_kwargs={"obs_mode": "target"})
    policy: Any = TrajectoryPolicy(network, vec_env.envs[0])  # type: ignore[attr-defined]
    returns, _ = evaluate_policy(policy, vec_env, episodes, return_episode_rewards=True)
    rows = {"network": np.array(returns)}
    controllers: dict[str, Any] = {
        "oracle": oracle,
        "inverse kinematics": inverse_kinematics,
        "inverse kinematics, one step late": lambda env: inverse_kinematics(env, delay=1),
        "zero action": lambda env: np.zeros(2, np.float32),
    }
    env = gymnasium.make("RobotTrajectory-v0", obs_mode="target")
    for name, act in controllers.items():
        rows[name] = np.array([_return(env, act, first_seed + i) for i in range(episodes)])
    return {name: (float(values.mean()), float(values.std())) for name, values in rows.items()}


def _return(env: gymnasium.Env[Any, Any], act: Any, seed: int) -> float:
    env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        _, reward, terminated, truncated, _ = env.step(act(env))
        total, over = total + float(reward), terminated or truncated
    return total
