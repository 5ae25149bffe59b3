"""What holds for every registered environment, with several arguments: the checkers, seeding, pickling, pictures.

Brax ids are checked under every physics in tests/envs/brax.
"""

import pickle
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from envs.registration import ENVS

ARGUMENTS: dict[str, tuple[dict[str, Any], ...]] = {
    "DamagedAnt-v0": ({}, {"damage": "front_left_leg"}, {"damage": {"none": 0.5, "lock:hip_1@2..9": 0.5}}),
    "DamagedHalfCheetah-v0": (
        {},
        {"damage": "front_foot@3", "observe_damage": True},
        {"perturbation": "defective_module", "damage": "noisy:torso=0.1"},
    ),
    "DamagedHopper-v0": ({}, {"damage": "weaken:foot_joint"}),
    "DamagedWalker2d-v0": ({}, {"damage": "noisy:torso=0.1@0/4:2"}),
    "DamagedHumanoid-v0": (
        {},
        {"damage": "slack:left_knee+dead:inertias"},
        {"perturbation": "tinyfeet+inverted_actions", "fidelity": "original"},
    ),
    "DamagedAntBullet-v0": (
        {},
        {"damage": "front_right_short", "observe_damage": True},
        {"damage": {"none": 0.5, "lock:rear_left_hip@2..9": 0.5}},
        {"damage": "front_left_leg+noisy:contacts=0.1@0/4:2", "horizon": 12},
    ),
    "RobotTrajectory-v0": ({}, {"obs_mode": "clock", "fixed_trajectory_seed": 3}, {"preview": 2, "reward_type": "neg_sq"}),
    "ContinualWorld-v0": ({}, {"task": "hammer", "reward_version": "v1"}),
    "CarRacingEarlyStop-v0": ({}, {"renderer": "fast", "frame_skip": 3, "grayscale": True, "obs_size": 48}),
}
CASES = [
    (env_id, kwargs)
    for env_id, entry in ENVS.items()
    if "brax" not in entry.entry_point
    for kwargs in ARGUMENTS.get(env_id, ({},))
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    env_id, kwargs = request.param
    if "bullet" in ENVS[env_id].entry_point:
        pytest.importorskip("pybullet")
    if "world" in ENVS[env_id].entry_point:
        pytest.importorskip("metaworld")
    if "car_racing" in ENVS[env_id].entry_point:
        pytest.importorskip("Box2D")
    return env_id, kwargs


def _software(env_id: str) -> dict[str, Any]:
    """Arguments for pictures without OpenGL."""
    opengl = ENVS[env_id].entry_point.startswith(("envs.damaged.mujoco", "envs.continual.world"))
    return {"renderer": "software"} if opengl else {}


def _play(env: gymnasium.Env, seed: int, steps: int = 25) -> list[np.ndarray]:
    out = [np.asarray(env.reset(seed=seed)[0], float).ravel()]
    env.action_space.seed(seed)
    for _ in range(steps):
        obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        out.append(np.append(np.asarray(obs, float), float(reward)))
        if terminated or truncated:
            out.append(np.asarray(env.reset()[0], float).ravel())
    return out


def test_both_checkers_pass(case) -> None:
    env_id, kwargs = case
    env = gymnasium.make(env_id, render_mode="rgb_array", **kwargs, **_software(env_id))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gymnasium_check(env.unwrapped, skip_render_check=True)
        sb3_check(env)
    env.close()


def test_same_seed_and_actions_same_trajectory_also_after_other_episodes(case) -> None:
    env_id, kwargs = case
    first, second = gymnasium.make(env_id, **kwargs), gymnasium.make(env_id, **kwargs)
    expected = _play(first, 3)
    _play(second, 4)
    for a, b in zip(expected, _play(second, 3), strict=True):
        np.testing.assert_array_equal(a, b)
    first.close()
    second.close()


def test_it_travels_to_other_processes(case) -> None:
    env_id, kwargs = case
    env = gymnasium.make(env_id, **kwargs).unwrapped
    copy = pickle.loads(pickle.dumps(env))
    for a, b in zip(_play(env, 3, 5), _play(copy, 3, 5), strict=True):
        np.testing.assert_array_equal(a, b)
    env.close()
    copy.close()


def test_it_can_be_seen(case) -> None:
    env_id, kwargs = case
    env = gymnasium.make(env_id, render_mode="rgb_array", **kwargs, **_software(env_id))
    env.reset(seed=0)
    env.step(env.action_space.sample())
    frame = np.asarray(env.render())
    assert frame.dtype == np.uint8
    assert frame.ndim == 3
    assert frame.shape[2] == 3
    assert frame.std() > 5, "an empty picture"
    env.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have a screen")
def test_a_window_opens_or_the_error_names_the_cause(case, monkeypatch: pytest.MonkeyPatch) -> None:
    env_id, kwargs = case
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    if "Damaged" in env_id or env_id == "ContinualWorld-v0":
        with pytest.raises(RuntimeError, match="'human' needs a screen"):
            gymnasium.make(env_id, render_mode="human", **kwargs)
        return
    pytest.importorskip("pygame")
    env = gymnasium.make(env_id, render_mode="human", **kwargs)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()


def test_its_page_lists_what_gymnasiums_pages_list(case) -> None:
    env_id, _ = case
    page = gymnasium.make(env_id).unwrapped.__doc__
    headings = ("Description", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End", "Arguments",
                "Version History")  # fmt: skip
    assert [h for h in headings if f"## {h}" not in page] == []
