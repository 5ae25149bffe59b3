"""Spiking policies learn: returns after short training, well above what chance gives."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule

import envs  # noqa: F401
from trainers.spiking_td3 import SpikingTD3


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _mean_return(model: Any, env: str, **kwargs: Any) -> float:
    tests = make_vec_env(env, 10, seed=100, env_kwargs=kwargs)
    return float(np.mean(evaluate_policy(model, tests, 10, return_episode_rewards=True)[0]))


def _td3(algorithm: type[TD3], env: Any, actions: int, **kwargs: Any) -> TD3:
    noise = NormalActionNoise(np.zeros(actions), np.full(actions, 0.1))
    kwargs = {"learning_starts": 500, "tau": 0.01, "batch_size": 128} | kwargs
    return algorithm("SpikingPolicy", env, action_noise=noise, seed=0, device="cpu", **kwargs)


@pytest.mark.parametrize("algorithm", [TD3, pytest.param(SpikingTD3, marks=pytest.mark.slow)])
def test_td3_follows_a_trajectory(algorithm: type[TD3]) -> None:
    kwargs = {"proxy_arch": (64, 64), "proxy_updates": 1} if algorithm is SpikingTD3 else {}
    env = gymnasium.make("RobotTrajectory-v0", sigma=0.5)
    model = _td3(algorithm, env, 2, gamma=0.9, policy_kwargs={"net_arch": [128, 128]}, **kwargs)
    assert _mean_return(model, "RobotTrajectory-v0", sigma=0.5) < 120
    assert _mean_return(model.learn(4000), "RobotTrajectory-v0", sigma=0.5) > 200


@pytest.mark.slow
def test_td3_swings_the_pendulum_up() -> None:
    kwargs = {"net_arch": [64, 64], "initial_rate": 0.3}
    model = _td3(TD3, "Pendulum-v1", 1, gamma=0.95, learning_rate=2e-3, policy_kwargs=kwargs)
    assert _mean_return(model.learn(6000), "Pendulum-v1") > -300


def test_ppo_balances_a_pole() -> None:
    options = {"n_steps": 32, "batch_size": 256, "n_epochs": 20, "gae_lambda": 0.8, "gamma": 0.98}
    schedules = {"learning_rate": LinearSchedule(3e-3, 0.0, 1.0), "clip_range": LinearSchedule(0.2, 0.0, 1.0)}
    env = make_vec_env("CartPole-v1", 8, seed=0)
    model = PPO("SpikingPolicy", env, policy_kwargs={"net_arch": [64, 64]}, seed=0, device="cpu", **options, **schedules)
    assert _mean_return(model.learn(30_000), "CartPole-v1") > 450


@pytest.mark.slow
def test_dqn_balances_a_pole() -> None:
    options = {"n_steps": 8, "batch_size": 128, "train_freq": 256, "gradient_steps": 64, "target_update_interval": 10}
    explore = {"exploration_fraction": 0.16, "exploration_final_eps": 0.04, "learning_starts": 1000, "buffer_size": 100_000}
    kwargs = {"net_arch": [128, 128], "encoder": "population", "encoder_kwargs": {"coding": "direct"}}
    rate = LinearSchedule(0.002, 0.0, 1.0)
    model = DQN("SpikingPolicy", "CartPole-v1", rate, policy_kwargs=kwargs, seed=0, device="cpu", **options, **explore)
    assert _mean_return(model.learn(25_000), "CartPole-v1") > 400
