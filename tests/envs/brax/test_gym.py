import functools
import pickle
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check
from stable_baselines3.common.vec_env import SubprocVecEnv

import envs
from envs.brax.gym import BraxEnv
from envs.brax.tasks import PHYSICS, available_physics, find_task
from envs.brax.vec_env import BraxVecEnv

IDS = [env_id for env_id, entry in envs.registration.ENVS.items() if "brax" in entry.entry_point]
# Compiling takes 15 to 30 seconds for each of the rest.
QUICK = ("BraxReacher-v0",)
PAIRS = [
    pytest.param(env_id, physics, marks=[] if physics == "v1" or env_id in QUICK else [pytest.mark.slow])
    for physics in PHYSICS
    for env_id in IDS
    if physics in available_physics(find_task(env_id) or "")
]


@pytest.mark.parametrize(("env_id", "physics"), PAIRS)
def test_both_checkers_pass(env_id: str, physics: str) -> None:
    env = gymnasium.make(env_id, physics=physics, render_mode="rgb_array").unwrapped
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gymnasium_check(env, skip_render_check=True)
        sb3_check(env)
    expected = ("infinity", "render_modes", "not within the observation space", "spec")
    assert [str(w.message) for w in caught if not any(text in str(w.message) for text in expected)] == []


def _play(env, seed: int, steps: int = 20) -> list[np.ndarray]:
    obs, _ = env.reset(seed=seed)
    out, rng = [obs], np.random.default_rng(seed)
    for _ in range(steps):
        obs, reward, terminated, truncated, _ = env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        out.append(np.append(obs, reward))
        if terminated or truncated:
            obs, _ = env.reset()
            out.append(obs)
    return out


def test_same_seed_and_actions_give_the_same_trajectory_also_after_other_episodes() -> None:
    first, second = gymnasium.make("BraxHopper-v0"), gymnasium.make("BraxHopper-v0")
    expected = _play(first, 5)
    _play(second, 6)
    for a, b in zip(expected, _play(second, 5), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(expected[0], _play(first, 6)[0])


def test_falling_terminates_and_the_horizon_truncates() -> None:
    env = gymnasium.make("BraxHopper-v0")
    env.reset(seed=0)
    for _ in range(1000):
        *_, terminated, truncated, info = env.step(np.array([1.0, -1.0, 1.0], np.float32))
        if terminated or truncated:
            break
    assert terminated
    assert not truncated
    assert info["diverged"] is False
    env = gymnasium.make("BraxReacher-v0", max_episode_steps=3)
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, np.float32))[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_pictures_show_the_state() -> None:
    env = gymnasium.make("BraxHopper-v0", render_mode="rgb_array", width=120, height=90)
    env.reset(seed=0)
    first = env.render()
    assert first.shape == (90, 120, 3)
    assert first.dtype == np.uint8
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 20
    for _ in range(15):
        env.step(np.ones(3, np.float32))
    assert (env.render() != first).any()


def test_runs_in_a_subprocess_and_pickles() -> None:
    vec = SubprocVecEnv([functools.partial(BraxEnv, "reacher")], start_method="spawn")
    vec.seed(3)
    obs = vec.reset()
    vec.close()
    env = pickle.loads(pickle.dumps(BraxEnv("reacher")))
    np.testing.assert_allclose(obs[0], env.reset(seed=3)[0], rtol=1e-5, atol=1e-6)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="render_mode='ansi'"):
        BraxEnv("hopper", render_mode="ansi")
    with pytest.raises(gymnasium.error.ResetNeeded):
        BraxEnv("reacher").step(np.zeros(2, np.float32))


def test_actions_that_are_no_numbers_are_refused() -> None:
    env = gymnasium.make("BraxReacher-v0").unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="finite"):
        env.step(np.array([0.0, np.nan]))
    vec_env = BraxVecEnv("reacher", 2, seed=0)
    vec_env.reset()
    with pytest.raises(ValueError, match="finite"):
        vec_env.step(np.full((2, 2), np.inf))


def test_human_mode_shows_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gymnasium.make("BraxReacher-v0", render_mode="human", width=64, height=48)
    env.reset(seed=0)
    first = pygame.surfarray.array3d(pygame.display.get_surface())
    assert first.shape == (64, 48, 3)
    for _ in range(5):
        env.step(np.ones(2, np.float32))
    assert (pygame.surfarray.array3d(pygame.display.get_surface()) != first).any()
    assert env.render() is None
    env.close()
    assert pygame.display.get_surface() is None
