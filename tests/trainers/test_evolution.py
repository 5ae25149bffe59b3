import json
import zipfile

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy

from envs.brax.vec_env import BraxVecEnv
from trainers import model_file
from trainers.checkpoint import CheckpointError
from trainers.ec import EC
from trainers.es import ES
from trainers.rollout.spaces import network_sizes

SMALL = {"policy_kwargs": {"num_neurons": 32}, "eval_episodes": 4}


def _ec(env="CartPole-v1", seed=0, **kwargs) -> EC:
    return EC("RSNNPolicy", env, population_size=16, seed=seed, n_envs=4, **(SMALL | kwargs))


def test_ec_learns_cartpole() -> None:
    model = EC("RSNNPolicy", "CartPole-v1", population_size=64, seed=0, n_envs=16, **SMALL)
    model.learn(generations=12)
    returns = [row["rollout/ep_rew_mean"] for row in model.history]
    assert returns[-1] > 2 * returns[0]
    assert model.num_timesteps == sum(r["rollout/ep_len_mean"] * 64 for r in model.history) + sum(
        r["eval/mean_ep_length"] * 4 for r in model.history
    )


def test_the_readme_example_runs() -> None:
    env = BraxVecEnv("reacher", 2, seed=1, max_episode_steps=20)
    model = EC("RSNNPolicy", BraxVecEnv("reacher", 1, max_episode_steps=20), population_size=8, seed=0, **SMALL)
    callback = EvalCallback(env, n_eval_episodes=2, eval_freq=1, verbose=0)
    model.learn(total_timesteps=400, callback=callback, progress_bar=True)
    assert model.num_timesteps >= 400
    assert np.isfinite(callback.last_mean_reward)
    mean, std = evaluate_policy(model, env, n_eval_episodes=2)
    assert np.isfinite([mean, std]).all()


def test_same_seed_same_run_and_another_seed_another() -> None:
    runs = [_ec(seed=s).learn(generations=3).history for s in (0, 0, 1)]
    fitness = [[row["rollout/ep_rew_mean"] for row in run] for run in runs]
    assert fitness[0] == fitness[1] != fitness[2]


@pytest.mark.parametrize("cls", [EC, ES])
def test_a_loaded_model_goes_on_exactly(cls, tmp_path) -> None:
    policy, kwargs = ("RSNNPolicy", {"num_neurons": 32}) if cls is EC else ("LSTMPolicy", {"hidden_size": 8})

    def build():
        return cls(policy, "CartPole-v1", population_size=8, seed=3, n_envs=2, policy_kwargs=kwargs, learning_rate="lin_0.1")

    whole = build().learn(generations=4)
    half = build()
    half.learn(generations=4, callback=_StopAfter(2))
    half.save(tmp_path / "half")
    loaded = cls.load(tmp_path / "half", "CartPole-v1", n_envs=3).learn(generations=4, reset_num_timesteps=False)
    whole.save(tmp_path / "whole")
    loaded.save(tmp_path / "loaded")
    from trainers import checkpoint

    a, b = checkpoint.load(tmp_path / "whole.zip")[0], checkpoint.load(tmp_path / "loaded.zip")[0]
    timing = {"history/time/seconds", "history/time/fps"}
    assert a.keys() == b.keys()
    for name in a.keys() - timing:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


class _StopAfter(BaseCallback):
    def __init__(self, generations: int) -> None:
        super().__init__()
        self.generations = generations

    def _on_step(self) -> bool:
        return self.n_calls < self.generations


def test_predict_threads_its_state_and_restarts_on_episode_start(tmp_path) -> None:
    model = _ec().learn(generations=1)
    obs = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    action, state = model.predict(obs)
    assert action.shape == (3,)
    assert all(len(part) == 3 for part in state)
    _, later = model.predict(obs, state=state)
    _, again = model.predict(obs, state=state, episode_start=np.array([False, False, True]))
    for x, y in zip(later, again, strict=True):
        np.testing.assert_array_equal(x[:2], y[:2])
    assert any((x[2] != y[2]).any() for x, y in zip(later, again, strict=True))
    single, _ = model.predict(obs[0], state=tuple(s[:1] for s in state))
    assert np.shape(single) == ()
    model.save(tmp_path / "model")
    loaded = EC.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(obs, state=state)[0], model.predict(obs, state=state)[0])


def test_set_env_and_load_refuse_what_does_not_fit(tmp_path) -> None:
    model = _ec().learn(generations=1)
    model.set_env("CartPole-v0")
    model.learn(generations=2, reset_num_timesteps=False)
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="this env differs"):
        EC.load(tmp_path / "m", "Acrobot-v1")
    with pytest.raises(CheckpointError, match=r"load it with EC\.load"):
        ES.load(tmp_path / "m")


class Shades(gymnasium.Env):
    """Images of one random shade each; three steps, which pay the action."""

    observation_space = spaces.Box(0, 255, (16, 16, 1), np.uint8)
    action_space = spaces.Box(np.float32([-1, 0, 0]), np.float32([1, 1, 1]))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 3
        return self._observe(), {}

    def _observe(self) -> np.ndarray:
        return np.full((16, 16, 1), self.np_random.integers(256), np.uint8)

    def step(self, action):
        assert self.action_space.contains(np.asarray(action))
        self.left -= 1
        return self._observe(), float(np.sum(action)), self.left == 0, False, {}


def test_networks_evolve_on_images_and_come_back(tmp_path) -> None:
    kwargs = {"hidden_sizes": [8], "action_bounds": "car_racing"}
    model = ES("HebbianCnnPolicy", Shades(), population_size=4, seed=0, eval_episodes=2, policy_kwargs=kwargs)
    model.learn(generations=2)
    assert model.moments.mean.shape == (0,)
    assert 0 < model.history[-1]["plastic/weight_0"] < 1
    assert model.get_env().observation_space.shape == (16, 16, 1)
    model.save(tmp_path / "m")
    with zipfile.ZipFile(tmp_path / "m.zip") as file:
        assert len(file.read("meta.json")) < 10_000
    loaded = ES.load(tmp_path / "m", Shades())
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), dtype=np.uint8)
    _, state = model.predict(images)
    batch, one = loaded.predict(images, state=state)[0], loaded.predict(images[0], state=tuple(s[:1] for s in state))[0]
    np.testing.assert_array_equal(batch, model.predict(images, state=state)[0])
    assert one.shape == (3,)
    np.testing.assert_allclose(one, batch[0], rtol=1e-5)
    with pytest.raises(ValueError, match=r"Observation of shape \(3, 1, 16, 16\); this policy takes \(16, 16, 1\)"):
        model.predict(images.transpose(0, 3, 1, 2))
    assert np.isfinite(evaluate_policy(loaded, loaded.get_env(), n_eval_episodes=2)).all()
    loaded.learn(generations=3, reset_num_timesteps=False)
    assert loaded.generation == 3


def test_a_table_of_choices_is_observed_one_hot(tmp_path) -> None:
    model = ES(
        "HebbianPolicy", "FrozenLake-v1", population_size=4, seed=0, eval_episodes=2, policy_kwargs={"hidden_sizes": [8]}
    )
    model.learn(generations=1)
    model.save(tmp_path / "m")
    loaded = ES.load(tmp_path / "m", "FrozenLake-v1")
    assert loaded.network.observation_size == 16
    _, state = model.predict(np.array([0, 15]))
    np.testing.assert_array_equal(*(m.predict(np.array([3, 5]), state=state)[0] for m in (model, loaded)))
    assert np.shape(model.predict(np.int64(3))[0]) == ()
    with pytest.raises(ValueError, match=r"Observation \[16\] is not in Discrete\(16\)"):
        model.predict(np.int64(16))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5, start=-1),
        spaces.Box(0, 255, (96, 96, 3), np.uint8),
        spaces.Box(-np.inf, np.inf, (4,), np.float64),
        spaces.Box(np.float32([-1, 0, 0]), np.float32([1, 1, 1])),
    ],
)
def test_spaces_survive_json(space) -> None:
    text = json.dumps(model_file.space_to_json(space))
    assert len(text) < 200
    assert model_file.space_from_json(json.loads(text)) == space


def test_wrong_combinations_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="EC needs a network with boolean synapses; 'MlpPolicy' has none"):
        EC("MlpPolicy", "CartPole-v1", population_size=4)
    with pytest.raises(ValueError, match="ES needs real-valued weights"):
        ES("RSNNPolicy", "CartPole-v1", population_size=4)
    with pytest.raises(ValueError, match=r"Did you mean .*'Humanoid'"):
        EC("RSNNPolicy", "Humaniod")
    with pytest.raises(ValueError, match="learning_rate='fast' is neither a number nor a schedule"):
        _ec(learning_rate="fast")
    with pytest.raises(ValueError, match=r"no option 'fysics'\. Did you mean 'physics'"):
        EC("RSNNPolicy", "BraxReacher-v0", env_kwargs={"fysics": "v1"})
    with pytest.raises(ValueError, match="population_size=15 is odd"):
        EC("RSNNPolicy", "CartPole-v1", population_size=15, antithetic=True)


@pytest.mark.parametrize(
    "pair",
    [
        (spaces.MultiBinary(4), spaces.Discrete(2)),
        (spaces.Dict({"a": spaces.Box(0, 1, (2,))}), spaces.Discrete(2)),
        (spaces.Box(0, 1, (36, 36, 3)), spaces.Discrete(2)),
        (spaces.Box(0, 1, (3, 2)), spaces.Discrete(2)),
        (spaces.Box(-1, 1, (3,)), spaces.MultiDiscrete([2, 2])),
        (spaces.Box(-1, 1, (3,)), spaces.Box(-np.inf, np.inf, (2,))),
    ],
)
def test_spaces_that_networks_cannot_take_are_named(pair) -> None:
    with pytest.raises(ValueError, match=r"These networks .* wrap it with"):
        network_sizes(*pair)
