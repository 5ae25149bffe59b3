import functools
import math
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as sb3_check
from stable_baselines3.common.vec_env import SubprocVecEnv

import envs  # noqa: F401
from envs.robot_arm import forward, inverse_kinematics, oracle

ID = "RobotTrajectory-v0"
VIEWS = [{}, {"preview": 3, "phase": True}, {"preview": -1}, {"obs_mode": "target"}, {"obs_mode": "clock", "n_clock": 4}]
Controller = Callable[[gymnasium.Env], np.ndarray]


def _episode(env: gymnasium.Env, controller: Controller, **reset: object) -> tuple[float, dict]:
    total, over = 0.0, False
    env.reset(**reset)
    while not over:
        _, reward, terminated, truncated, info = env.step(controller(env))
        total, over = total + reward, terminated or truncated
    return total, info


def _play(env: gymnasium.Env, seed: int, steps: int = 40) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    out = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        obs, reward, terminated, truncated, _ = env.step(rng.uniform(-1, 1, 2).astype(np.float32))
        out.append(np.append(obs, reward))
        if terminated or truncated:
            out.append(env.reset()[0])
    return out


def _zero(env: gymnasium.Env) -> np.ndarray:
    return np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("controller", "mean", "std"),
    [(oracle, 250.0, 0.0), (functools.partial(inverse_kinematics, delay=1), 240.786, 5.418), (_zero, 12.396, 8.719)],
    ids=["oracle", "late inverse kinematics", "zero"],
)
def test_reference_scores_over_1000_seeds(controller: Controller, mean: float, std: float) -> None:
    env = gymnasium.make(ID).unwrapped
    returns = [_episode(env, controller, seed=seed)[0] for seed in range(1000)]
    assert np.mean(returns) == pytest.approx(mean, abs=6e-4)
    assert np.std(returns) == pytest.approx(std, abs=6e-4)


def test_inverse_kinematics_in_time_is_as_good_as_the_oracle() -> None:
    env = gymnasium.make(ID)
    for seed in range(20):
        total, info = _episode(env, inverse_kinematics, seed=seed)
        assert total == pytest.approx(250.0, abs=1e-3)
        assert info["is_success"] is True


@pytest.mark.parametrize("kwargs", VIEWS, ids=str)
def test_both_checkers_pass(kwargs: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gymnasium.make(ID, render_mode="rgb_array", **kwargs).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        gymnasium_check(env)
        sb3_check(env)


@pytest.mark.parametrize("kwargs", [*VIEWS, {"init_noise": 0.2, "horizon": 30}], ids=str)
def test_same_seed_and_actions_give_the_same_trajectory_also_after_other_episodes(kwargs: dict) -> None:
    first, second = gymnasium.make(ID, **kwargs), gymnasium.make(ID, **kwargs)
    expected = _play(first, 5)
    for steps in (3, 35, 100):
        _play(second, 6, steps)
        second.reset()
        for a, b in zip(expected, _play(second, 5), strict=True):
            np.testing.assert_array_equal(a, b)


def test_another_seed_and_another_episode_give_another_path() -> None:
    env = gymnasium.make(ID).unwrapped
    paths = []
    for seed in (1, None, None, 2):
        env.reset(seed=seed)
        paths.append(env.targets.copy())
    assert len({path.tobytes() for path in paths}) == 4
    rng = np.random.default_rng(1)  # an episode after another goes on with the same random numbers
    for path in paths[:3]:
        np.testing.assert_array_equal(env.generator.sample(rng).xy[0], path)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), links=st.tuples(st.floats(0.1, 2.0), st.floats(0.1, 2.0)), omega_max=st.floats(0.5, 60.0))
def test_each_step_follows_the_equations(seed: int, links: tuple[float, float], omega_max: float) -> None:
    env = gymnasium.make(ID, horizon=40, link_lengths=links, omega_max=omega_max, action_cost=0.1, action_rate_cost=0.2)
    arm = env.unwrapped
    obs, _ = env.reset(seed=seed)
    rng, q, last = np.random.default_rng(seed), np.zeros(2), np.zeros(2)
    for k in range(40):
        raw = rng.normal(0, 1, 2).astype(np.float32)
        a = np.clip(raw, -1, 1).astype(float)
        q = np.clip(q + 5.0 / 40 * omega_max * a, -math.pi / 2 - 0.05, math.pi / 2 + 0.05)
        obs, reward, terminated, truncated, info = env.step(raw)
        tip = forward(q, links)
        distance = np.linalg.norm(tip - arm.targets[k])
        shown = arm.targets[min(k + 1, 39)]
        expected = np.concatenate((np.stack((np.cos(q), np.sin(q)), 1).ravel(), a, tip, shown, shown - tip))
        np.testing.assert_allclose(obs, expected, atol=2e-6)
        assert obs in env.observation_space
        assert obs.dtype == np.float32
        assert reward == pytest.approx(
            np.exp(-((distance / 0.1) ** 2)) - 0.1 * a @ a - 0.2 * (a - last) @ (a - last), abs=1e-9
        )
        np.testing.assert_allclose(info["tip"], tip, atol=1e-12)
        np.testing.assert_allclose(info["target"], arm.targets[k])
        assert info["distance"] == pytest.approx(distance)
        assert info["squared_error"] == pytest.approx(distance**2)
        assert (terminated, truncated) == (False, k == 39)
        last = a


@pytest.mark.parametrize(("reward_type", "power"), [("neg_dist", 1), ("neg_sq", 2)])
def test_other_rewards(reward_type: str, power: int) -> None:
    env = gymnasium.make(ID, reward_type=reward_type)
    env.reset(seed=0)
    _, reward, *_, info = env.step(np.ones(2, np.float32))
    assert reward == pytest.approx(-(info["distance"] ** power))


def test_views_show_what_they_say() -> None:
    made = [gymnasium.make(ID, horizon=20, **kwargs) for kwargs in VIEWS]
    obs = [env.reset(seed=4)[0] for env in made]
    targets = made[0].unwrapped.targets
    for k in range(21):
        full, longer, late, target, clock = obs
        row = min(k, 19)
        np.testing.assert_array_equal(longer[:12], full)
        ahead = targets[np.minimum([k + 1, k + 2, k + 3], 19)] - full[6:8]
        np.testing.assert_allclose(longer[12:18].reshape(3, 2), ahead, atol=1e-6)
        assert longer[18] == target[2] == clock[4] == np.float32(k / 20)
        np.testing.assert_allclose(late[8:10], targets[k - 1] if k else (0.5, 0.5), atol=1e-6)
        np.testing.assert_allclose(late[10:12], late[8:10] - late[6:8], atol=1e-6)
        np.testing.assert_allclose(target[:2], targets[row], atol=1e-6)
        np.testing.assert_array_equal(clock[:4], np.eye(4)[min(k // 5, 3)])
        if k < 20:
            obs = [env.step(np.array([0.3, -0.5], np.float32))[0] for env in made]


def test_episodes_end_at_the_horizon_or_when_the_target_is_lost() -> None:
    env = gymnasium.make(ID, horizon=300)
    assert _episode(env, oracle, seed=0)[1]["is_success"] is True
    assert env.unwrapped.step_count == 300
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(2, np.float32))
    env = gymnasium.make(ID, terminate_distance=0.3)
    _, info = _episode(env, _zero, seed=0)
    assert info["distance"] > 0.3
    assert env.unwrapped.step_count < 250
    assert info["is_success"] is False


def test_reset_options_choose_path_and_start() -> None:
    env = gymnasium.make(ID).unwrapped
    env.reset(seed=7)
    path, omega = env.targets.copy(), env.path.omega.copy()
    env.reset(options={"static": True})
    np.testing.assert_array_equal(env.targets, path)
    env.reset(seed=1, options={"trajectory_seed": 7})
    np.testing.assert_array_equal(env.targets, path)
    env.reset(options={"trajectory": omega.tolist(), "q0": (0.2, -0.3)})
    np.testing.assert_allclose(env.targets, path, atol=1e-12)
    np.testing.assert_array_equal(env.joints, (0.2, -0.3))
    fixed = gymnasium.make(ID, fixed_trajectory_seed=7, init_noise=0.1).unwrapped
    for seed in (None, 3):
        fixed.reset(seed=seed)
        np.testing.assert_array_equal(fixed.targets, path)
        assert 0 < np.abs(fixed.joints).max() <= 0.1
    assert _episode(fixed, oracle)[0] > 240  # finds back to the path


def test_oracle_info_is_the_action_for_the_state_it_comes_with() -> None:
    env = gymnasium.make(ID, oracle_info=True)
    _, info = env.reset(seed=0)
    for k in range(250):
        expected = env.unwrapped.path.omega[k] / env.unwrapped.omega_max
        np.testing.assert_allclose(info["oracle_action"], expected, atol=1e-5)
        *_, info = env.step(info["oracle_action"])
    assert info["mean_distance"] < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trajectry": None}, "Unknown reset option 'trajectry'. Did you mean 'trajectory'"),
        ({"static": True, "trajectory_seed": 1}, "each choose a path"),
        ({"trajectory_seed": -1}, "trajectory_seed=-1"),
        ({"trajectory": np.zeros((3, 2))}, r"shape \(250, 2\)"),
        ({"trajectory": np.full((250, 2), np.nan)}, "finite"),
        ({"trajectory": np.full((250, 2), 5.1)}, "5.1 rad/s"),
        ({"trajectory": np.full((250, 2), 1.0)}, "5 rad"),
        ({"q0": (2.0, 0.0)}, "q0=.*1.6208"),
    ],
    ids=str,
)
def test_bad_reset_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gymnasium.make(ID).unwrapped.reset(seed=0, options=options)


@pytest.mark.parametrize("bad", [[np.nan, 0], [0, np.inf], [-np.inf, 0], [0, 0, 0], [[0, 0]], 0.5, "ab", None], ids=str)
@pytest.mark.parametrize("kind", [np.asarray, lambda value: value], ids=["array", "plain"])
def test_bad_actions_are_refused_and_do_not_move_the_arm(bad: object, kind: Callable) -> None:
    env = gymnasium.make(ID).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action="):
        env.step(kind(bad))
    assert env.step_count == 0
    np.testing.assert_array_equal(env.joints, (0.0, 0.0))


def test_actions_of_any_dtype_and_size_are_clipped() -> None:
    for action in ([3, -2], np.array([3, -2]), np.array([1.5, -1.5], np.float64), np.array([1, -1], np.float16)):
        env = gymnasium.make(ID).unwrapped
        env.reset(seed=0)
        env.step(action)
        np.testing.assert_allclose(env.joints, (0.1, -0.1))


@pytest.mark.parametrize(
    "bad",
    [
        {"horizon": 1},
        {"duration": -1.0},
        {"omega_max": 0.0},
        {"omega_max": math.nan},
        {"phi_max": 2.0},
        {"link_lengths": (0.5, 0.0)},
        {"obs_mode": "fulll"},
        {"preview": -2},
        {"preview": 1, "obs_mode": "target"},
        {"n_clock": 0},
        {"reward_type": "gausian"},
        {"sigma": 0},
        {"action_cost": -0.1},
        {"action_rate_cost": math.inf},
        {"terminate_distance": 0.0},
        {"fixed_trajectory_seed": -1},
        {"fixed_trajectory_seed": 1.5},
        {"init_noise": 2.0},
        {"control": "acceleration"},
        {"render_mode": "ansi"},
    ],
    ids=str,
)
def test_bad_arguments_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))) as caught:
        gymnasium.make(ID, **bad)
    assert str(caught.value).endswith(".")


def test_unknown_arguments_name_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"Unknown argument 'horizn'\. Did you mean 'horizon'"):
        gymnasium.make(ID, horizn=10)
    with pytest.raises(ValueError, match="Did you mean 'gaussian'"):
        gymnasium.make(ID, reward_type="gausian")


def test_frames_show_the_moving_arm() -> None:
    env = gymnasium.make(ID, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (480, 480, 3)
    assert before.dtype == np.uint8
    np.testing.assert_array_equal(before, env.render())
    env.step(np.ones(2, np.float32))
    assert not np.array_equal(before, env.render())
    late = gymnasium.make(ID, render_mode="rgb_array")  # a frame does not depend on how many were drawn before
    late.reset(seed=0)
    late.step(np.ones(2, np.float32))
    np.testing.assert_array_equal(env.render(), late.render())


def test_human_mode_shows_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gymnasium.make(ID, render_mode="human", horizon=2, duration=0.01)
    assert env.metadata["render_fps"] == 200
    env.reset(seed=0)
    env.step(np.zeros(2, np.float32))
    env.close()
    env.close()


def test_human_mode_without_pygame_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(gymnasium.error.DependencyNotInstalled, match=r'pip install "spikegym\[box2d\]"'):
        gymnasium.make(ID, render_mode="human").reset(seed=0)


@pytest.mark.parametrize("kwargs", VIEWS, ids=str)
def test_a_pickled_environment_goes_on_where_it_was(kwargs: dict) -> None:
    env = gymnasium.make(ID, render_mode="rgb_array", **kwargs).unwrapped
    pickle.loads(pickle.dumps(env)).reset(seed=1)
    env.reset(seed=0)
    env.render()
    copy = pickle.loads(pickle.dumps(env))
    action = np.array([0.1, 0.2], np.float32)
    np.testing.assert_array_equal(env.step(action)[0], copy.step(action)[0])
    np.testing.assert_array_equal(env.reset()[0], copy.reset()[0])


def test_runs_in_other_processes() -> None:
    vec = SubprocVecEnv([functools.partial(gymnasium.make, f"envs:{ID}", horizon=3) for _ in range(2)])
    try:
        vec.seed(0)
        first = vec.reset()
        for _ in range(3):
            obs, _, dones, infos = vec.step(np.zeros((2, 2), np.float32))
        assert dones.all()
        assert all("is_success" in info and info["TimeLimit.truncated"] for info in infos)
        assert obs.shape == first.shape == (2, 12)
    finally:
        vec.close()


def test_making_and_stepping_imports_neither_simulator_nor_pictures() -> None:
    code = (
        "import sys, gymnasium, envs; e = gymnasium.make('RobotTrajectory-v0', render_mode='rgb_array'); e.reset(seed=0);"
        "e.step(e.action_space.sample()); e.render();"
        "print(sorted({'matplotlib', 'pygame', 'mujoco', 'jax', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
