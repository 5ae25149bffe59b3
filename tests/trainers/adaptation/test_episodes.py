"""What is recorded of episodes: start states, events, weights."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from trainers.adaptation.episodes import record, relative_change
from trainers.adaptation.perturb import make_perturbation
from trainers.adaptation.players import Player, split_names
from trainers.adaptation.worlds import World, horizon_of, scheduled
from trainers.es import ES

ANT = World("DamagedAnt-v0", {"max_episode_steps": 30})


class Clock(gymnasium.Env):
    """Observes its step; an episode lasts 10 steps and a number from 0 to 4 that its seed draws. The reward is the action."""

    observation_space = spaces.Box(0, 20, (1,))
    action_space = spaces.Box(-99, 99, (1,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.step_number, self.length = 0, 10 + int(self.np_random.integers(5))
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.step_number += 1
        obs = np.full(1, self.step_number, np.float32)
        return obs, float(action[0]), self.step_number == self.length, False, {"x_position": 2.0 * self.step_number}


class Counting:
    """A policy whose state is a 2 x 3 matrix of the number of its step; it acts with the mean of its matrix."""

    policy = None

    def get_vec_normalize_env(self) -> None:
        return None

    def predict(self, obs: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False) -> Any:
        weights = np.zeros((len(obs), 2, 3)) if state is None else state[0]
        weights = np.where(np.asarray(episode_start)[:, None, None], 0.0, weights) + 1
        return weights.mean((1, 2))[:, None], (weights,)


def _clocks(n: int) -> DummyVecEnv:
    return DummyVecEnv([Clock] * n)


def _lengths(seeds: range) -> list[int]:
    env = Clock()
    lengths = []
    for seed in seeds:
        env.reset(seed=seed)
        lengths.append(env.length)
    return lengths


@pytest.mark.parametrize("n_envs", [1, 3, 7])
def test_every_episode_has_the_start_of_its_seed(n_envs: int) -> None:
    trace = record(Player("counting", Counting()), _clocks(n_envs), 7, 100, 20)
    assert trace.rewards.shape == (7, 20)
    assert trace.lengths.tolist() == _lengths(range(100, 107))
    for rewards, positions, length in zip(trace.rewards, trace.positions, trace.lengths, strict=True):
        np.testing.assert_array_equal(rewards, np.r_[np.arange(1.0, length + 1), np.full(20 - length, np.nan)])
        np.testing.assert_array_equal(positions[:length], 2.0 * np.arange(1, length + 1))
    np.testing.assert_array_equal(trace.returns, trace.lengths * (trace.lengths + 1) / 2)
    np.testing.assert_array_equal(trace.distances, 2.0 * trace.lengths)


def test_the_weights_of_some_episodes_are_kept_until_these_end() -> None:
    trace = record(Player("counting", Counting()), _clocks(6), 6, 0, 20)
    (layer,) = trace.weights
    assert layer.shape == (4, len(trace.weight_steps), 2, 3)
    for episode, length in zip(layer, trace.lengths, strict=False):
        known = trace.weight_steps <= length
        np.testing.assert_array_equal(
            episode[known], np.broadcast_to(trace.weight_steps[known, None, None], (known.sum(), 2, 3))
        )
        assert np.isnan(episode[~known]).all()
    (changes,) = trace.weight_changes
    assert changes.shape == (4, 19)
    for row, length in zip(changes, trace.lengths, strict=False):  # from t to t + 1
        np.testing.assert_allclose(row, np.r_[1 / np.arange(1.0, length), np.full(20 - length, np.nan)])


def test_relative_change() -> None:
    before = np.stack([np.full((2, 2), 2.0), np.zeros((2, 2)), np.full((2, 2), np.nan)])
    np.testing.assert_array_equal(relative_change(before, before + np.diag([1.0, 0.0])), [0.25, np.nan, np.nan])


def test_perturbed_states_begin_when_they_should() -> None:
    """A matrix that counts steps counts from the last perturbation."""
    change = make_perturbation("zero", 4, 2, lambda state: 0, 0)
    trace = record(Player("counting", Counting()), _clocks(2), 2, 0, 20, change)
    np.testing.assert_array_equal(trace.rewards[:, :10], [[1, 2, 3, 4, 1, 1, 2, 3, 4, 5]] * 2)
    redrawn = record(
        Player("counting", Counting()), _clocks(2), 2, 0, 20, make_perturbation("redraw", 4, 2, lambda state: 0, 0)
    )
    np.testing.assert_array_equal(redrawn.rewards, trace.rewards)


@pytest.fixture(scope="module")
def players() -> dict[str, Player]:
    arch = {"net_arch": [8]}
    lstm = {**arch, "lstm_hidden_size": 8}
    return {
        "spiking": Player("spiking", PPO("SpikingPolicy", "DamagedAnt-v0", policy_kwargs={**arch, "stateful": True}, seed=0)),
        "static": Player("static", PPO("MlpPolicy", "DamagedAnt-v0", policy_kwargs=arch, seed=0)),
        "lstm": Player("lstm", RecurrentPPO("MlpLstmPolicy", "DamagedAnt-v0", policy_kwargs=lstm, seed=0)),
        "gru": Player("gru", ES("GRUPolicy", "DamagedAnt-v0", policy_kwargs={"hidden_size": 8}, population_size=4, seed=0)),
        "mlp": Player("mlp", ES("MlpPolicy", "DamagedAnt-v0", population_size=4, seed=0)),
    }


@pytest.mark.parametrize("name", ["spiking", "static", "lstm", "gru", "mlp"])
def test_up_to_the_event_nothing_differs_and_then_it_does(players: dict[str, Player], name: str) -> None:
    player, at = players[name], 12
    with ANT.open(2) as venv:
        horizon = horizon_of(venv)
        assert horizon == 30
        calm = record(player, venv, 2, 7, horizon)
        again = record(player, venv, 2, 7, horizon)
        perturbed = record(player, venv, 2, 7, horizon, make_perturbation("shuffle", at, 3, player.state_axis, 7))
    with ANT.but(damage=scheduled("front_left_leg + weaken:rear_left_hip=0.1", at)).open(2) as venv:
        damaged = record(player, venv, 2, 7, horizon)
    np.testing.assert_array_equal(calm.rewards, again.rewards)
    assert bool(calm.state_arrays) == (name not in ("static", "mlp"))
    assert calm.weights == ()
    for trace, changes in ((perturbed, bool(calm.state_arrays)), (damaged, True)):
        np.testing.assert_array_equal(trace.rewards[:, :at], calm.rewards[:, :at])
        np.testing.assert_array_equal(trace.positions[:, :at], calm.positions[:, :at])
        assert np.array_equal(trace.rewards, calm.rewards, equal_nan=True) != changes


def test_the_environments_are_found_in_states(players: dict[str, Player]) -> None:
    lstm = (np.zeros((1, 3, 8)), np.zeros((1, 3, 8)))
    matrices = (np.zeros((3, 27, 8)), np.zeros((3, 8, 8)), np.zeros(3, bool))
    assert players["lstm"].state_axis(lstm) == 1
    assert players["lstm"].plastic_weights(lstm) == ()
    assert players["lstm"].state_axis(matrices) == 0
    assert players["gru"].state_axis((np.zeros((3, 8)),)) == 0
    assert players["gru"].plastic_weights((np.zeros((3, 8)),)) == ()
    assert len(players["gru"].plastic_weights(matrices)) == 2
    assert players["mlp"].plastic_weights(()) == players["static"].plastic_weights(None) == ()


def test_damage_by_schedule_is_damage_set_in_that_step() -> None:
    env = gymnasium.make("DamagedAnt-v0", damage=scheduled("front_left_leg", 5))
    other = gymnasium.make("DamagedAnt-v0")
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    other.reset(seed=0)
    for step in range(10):
        if step == 5:
            other.unwrapped.set_damage("front_left_leg")
        action = rng.uniform(-1, 1, 8).astype(np.float32)
        outcomes = [e.step(action) for e in (env, other)]
        np.testing.assert_array_equal(outcomes[0][0], outcomes[1][0])
        assert outcomes[0][4]["damage"] == (("remove:front_left_leg",) if step >= 5 else ())


def test_statistics_of_the_model_are_put_around_any_environment() -> None:
    statistics = VecNormalize(make_vec_env("Pendulum-v1", 1), training=False, norm_reward=False)
    statistics.obs_rms.mean = np.array([1.0, 2.0, 3.0])
    player = Player("ppo", PPO("MlpPolicy", statistics, policy_kwargs={"net_arch": [4]}))
    plain = make_vec_env("Pendulum-v1", 3)
    wrapped = player.normalized(plain)
    plain.seed(0)
    raw = plain.reset()
    wrapped.seed(0)
    expected = (raw - [1.0, 2.0, 3.0]) / np.sqrt(1 + statistics.epsilon)
    np.testing.assert_allclose(wrapped.reset(), expected, atol=1e-6)
    assert statistics.venv.num_envs == 1


def test_names_tell_models_apart(tmp_path: Path) -> None:
    paths = [tmp_path / "a/best.zip", tmp_path / "b/best.zip"]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    assert [name for name, _ in split_names(tuple(map(str, paths)))] == ["a/best", "b/best"]
    assert split_names((f"plastic={paths[0]}", str(paths[1]))) == [("plastic", paths[0]), ("best", paths[1])]
    with pytest.raises(ValueError, match="is given twice"):
        split_names((str(paths[0]), str(paths[0])))
    with pytest.raises(ValueError, match="both called 'a'"):
        split_names((f"a={paths[0]}", f"a={paths[1]}"))
    with pytest.raises(ValueError, match="There is no model"):
        split_names((str(tmp_path / "c"),))
