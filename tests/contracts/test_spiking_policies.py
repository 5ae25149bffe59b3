"""Every name that `import policies` registers: trains, saves, loads, predicts the same."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import TimeLimit
from sb3_contrib import ARS, QRDQN, TQC, CrossQ, MaskablePPO
from sb3_contrib.common.envs import InvalidActionEnvDiscrete
from stable_baselines3 import DDPG, DQN, SAC, TD3
from stable_baselines3.common.envs import FakeImageEnv, SimpleMultiObsEnv

from policies.sb3.register import POLICIES

OFF_POLICY = (TD3, DDPG, SAC, TQC, CrossQ, DQN, QRDQN)
CASES = [
    (algorithm, name, critic)
    for algorithm, names in POLICIES.items()
    for name in names
    for critic in (("mlp", "spiking") if name in ("SpikingPolicy", "SpikingRecurrentPolicy") else ("spiking",))
]


class MaskedImages(FakeImageEnv):
    def action_masks(self) -> np.ndarray:
        return np.array([True, False, True])


class RewardingImages(FakeImageEnv):
    """Evolution needs returns that differ."""

    def step(self, action: np.ndarray) -> tuple:
        obs, _, *rest = super().step(action)
        return obs, float(action.mean()), *rest


class MaskedMultiInput(SimpleMultiObsEnv):
    def action_masks(self) -> np.ndarray:
        return np.ones(4, bool)


def make_env(algorithm: type, name: str) -> gymnasium.Env:
    discrete = algorithm in (DQN, QRDQN, MaskablePPO)
    masked = algorithm is MaskablePPO
    if "Cnn" in name:
        images = MaskedImages if masked else RewardingImages if algorithm is ARS else FakeImageEnv
        return images(action_dim=3, screen_height=36, screen_width=36, n_channels=1, discrete=discrete)
    if "MultiInput" in name:
        return TimeLimit((MaskedMultiInput if masked else SimpleMultiObsEnv)(discrete_actions=discrete), 50)
    if masked:
        return InvalidActionEnvDiscrete(dim=5, n_invalid_actions=2)
    return gymnasium.make("CartPole-v1" if discrete else "Pendulum-v1")


@pytest.mark.parametrize(("algorithm", "name", "critic"), CASES, ids=[f"{a.__name__}-{n}-{c}" for a, n, c in CASES])
def test_trains_saves_loads_and_predicts(algorithm: Any, name: str, critic: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"n_steps": 250, "batch_size": 50}
    if algorithm in OFF_POLICY:
        arguments = {"learning_starts": 470, "buffer_size": 500, "batch_size": 16}
    elif algorithm is ARS:
        arguments = {"n_delta": 1, "zero_policy": "Hebbian" not in name}
    elif algorithm.__name__ == "A2C":
        arguments = {"n_steps": 50}
    elif algorithm.__name__ == "TRPO":
        arguments |= {"cg_max_steps": 3, "n_critic_updates": 2}
    elif "PPO" in algorithm.__name__:
        arguments |= {"n_epochs": 2}
    env = make_env(algorithm, name)
    kwargs = {"hidden_sizes": [8, 8]} if "Hebbian" in name else {"net_arch": [16, 16], "critic": critic}
    model = algorithm(name, env, seed=0, policy_kwargs=kwargs, **arguments)
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    model.learn(500)
    changed = [key for key, value in model.policy.state_dict().items() if not before[key].equal(value)]
    assert any("layers.0" in key for key in changed)
    if critic == "spiking" and "Hebbian" not in name and algorithm not in (DQN, QRDQN, ARS):
        assert sum("layers.0" in key for key in changed) >= 4

    obs = np.stack([env.observation_space.sample() for _ in range(6)]) if "MultiInput" not in name else None
    if obs is None:
        samples = [env.observation_space.sample() for _ in range(6)]
        obs = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}

    def act(policy: Any) -> np.ndarray:
        torch.manual_seed(0)  # of the weights that Hebbian networks start with
        return policy.predict(obs, deterministic=True)[0]

    actions = act(model)
    np.testing.assert_array_equal(actions, act(model))

    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=env)
    np.testing.assert_array_equal(act(loaded), actions)
    loaded.set_parameters(model.get_parameters(), exact_match=True)
    model.policy.save(str(tmp_path / "policy"))
    policy = type(model.policy).load(str(tmp_path / "policy"))
    np.testing.assert_array_equal(act(policy), actions)
