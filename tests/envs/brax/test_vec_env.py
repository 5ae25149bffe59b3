import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from envs.brax.gym import BraxEnv
from envs.brax.vec_env import BraxVecEnv


def test_row_i_is_the_single_environment_with_seed_plus_i() -> None:
    vec = BraxVecEnv("hopper", 3, seed=10)
    obs = vec.reset()
    singles = [BraxEnv("hopper") for _ in range(3)]
    for i, env in enumerate(singles):
        np.testing.assert_allclose(obs[i], env.reset(seed=10 + i)[0], atol=1e-6)
    rng = np.random.default_rng(0)
    for _ in range(60):  # long enough for falls and resets; contacts amplify rounding, hence the tolerance
        actions = rng.uniform(-1, 1, (3, 3)).astype(np.float32)
        obs, rewards, dones, infos = vec.step(actions)
        for i, env in enumerate(singles):
            single, reward, terminated, _, _ = env.step(actions[i])
            assert dones[i] == terminated
            assert rewards[i] == pytest.approx(reward, abs=0.05)
            if terminated:
                np.testing.assert_allclose(infos[i]["terminal_observation"], single, atol=0.05)
                single, _ = env.reset()
                np.testing.assert_allclose(obs[i], single, atol=1e-6)
            else:
                np.testing.assert_allclose(obs[i], single, atol=0.05)


def test_the_time_limit_truncates_and_infos_tell() -> None:
    vec = BraxVecEnv("reacher", 2, seed=0, max_episode_steps=5)
    vec.reset()
    total = np.zeros(2)
    for t in range(1, 6):
        obs, rewards, dones, infos = vec.step(np.full((2, 2), 0.3, np.float32))
        total += rewards
        assert (dones == (t == 5)).all()
    for i, info in enumerate(infos):
        assert info["TimeLimit.truncated"] is True
        assert info["episode"]["l"] == 5
        assert info["episode"]["r"] == pytest.approx(total[i], rel=1e-4)
        assert (info["terminal_observation"] != obs[i]).any()
    assert obs.dtype == rewards.dtype == np.float32
    assert dones.dtype == bool


def test_seeding_repeats_and_differs() -> None:
    vec = BraxVecEnv("reacher", 2, seed=4)
    first = vec.reset()
    vec.seed(4)
    np.testing.assert_array_equal(first, vec.reset())
    assert (vec.reset() != first).any()


def test_methods_reach_single_environments() -> None:
    vec = BraxVecEnv("reacher", 3, seed=0, render_mode="rgb_array")
    before = vec.reset()
    [(obs, _)] = vec.env_method("reset", seed=9, indices=1)
    assert (obs != before[1]).any()
    np.testing.assert_allclose(obs, BraxEnv("reacher").reset(seed=9)[0], atol=1e-6)
    assert len(vec.env_method("render")) == 3
    assert vec.render().ndim == 3
    assert vec.env_is_wrapped(Monitor) == [True] * 3
    assert vec.get_attr("render_mode", indices=[0]) == ["rgb_array"]
    with pytest.raises(AttributeError, match="no method 'fly'"):
        vec.env_method("fly")
    with pytest.raises(ValueError, match="at least 1"):
        BraxVecEnv("reacher", 0)


def test_stable_baselines_learns_and_evaluates_on_it() -> None:
    vec = BraxVecEnv("reacher", 4, seed=0, max_episode_steps=10)
    model = A2C("MlpPolicy", vec, seed=0).learn(100)
    assert model.num_timesteps >= 100
    returns, lengths = evaluate_policy(model, vec, 4, return_episode_rewards=True)
    assert lengths == [10] * 4
    assert np.isfinite(returns).all()
