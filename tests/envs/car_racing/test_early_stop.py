"""When episodes are cut, what is refused, and that the environment keeps Gymnasium's and SB3's contracts."""

import pickle
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_sb3
from stable_baselines3.common.vec_env import SubprocVecEnv

import envs  # noqa: F401

pytest.importorskip("Box2D")
pytest.importorskip("pygame")

ID = "CarRacingEarlyStop-v0"
ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"renderer": "fast", "grayscale": True, "obs_size": 64, "frame_skip": 2},
    {"renderer": "fast", "continuous": False, "domain_randomize": True, "grace": 5, "patience": 3},
]


def first_cut(rewards: list[float], patience: int, grace: int) -> int | None:
    """1-based step of the end of the first run of `patience` losses among the steps after `grace`."""
    for end in range(grace + patience, len(rewards) + 1):
        if all(reward < 0 for reward in rewards[end - patience : end]):
            return end
    return None


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("patience", "grace"), [(20, 0), (20, 30), (7, 0), (12, 3), (1, 10)])
def test_cut_where_an_independent_count_says(seed: int, patience: int, grace: int) -> None:
    actions = np.random.default_rng(seed).uniform([-0.2, 0, 0], [0.2, 1, 0.2], (150, 3))
    plain = gymnasium.make("CarRacing-v3")
    plain.reset(seed=seed)
    expected = first_cut([float(plain.step(action)[1]) for action in actions], patience, grace)
    env = gymnasium.make(ID, renderer="fast", patience=patience, grace=grace)
    env.reset(seed=seed)
    for step, action in enumerate(actions, start=1):
        _, _, terminated, truncated, info = env.step(action)
        assert not terminated
        assert truncated == info["early_stop"] == (step == expected)
        if truncated:
            break
    else:
        assert expected is None


def test_a_standing_car_is_cut_after_patience_losses_in_every_episode() -> None:
    env = gymnasium.make(ID, renderer="fast", patience=20)
    for _ in range(2):
        env.reset(seed=0)
        rewards = []
        truncated = False
        while not truncated:
            _, reward, _, truncated, info = env.step(np.zeros(3))
            rewards.append(reward)
        assert info["early_stop"]
        assert rewards[0] > 0  # the tiles under the car
        assert len(rewards) == 21


def test_without_patience_the_time_limit_ends_the_episode() -> None:
    env = gymnasium.make(ID, renderer="fast", patience=None, max_episode_steps=60)
    env.reset(seed=0)
    ends = [env.step(np.zeros(3))[3:] for _ in range(60)]
    assert [truncated for truncated, _ in ends] == [False] * 59 + [True]
    assert not ends[-1][1]["early_stop"]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_checkers(arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gymnasium.make(ID, disable_env_checker=True, **arguments)
    check_env(env.unwrapped)
    check_sb3(env, warn=False)
    env.close()


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_a_seed_decides_the_episode_whatever_came_before(arguments: dict[str, Any]) -> None:
    def episode(env: gymnasium.Env) -> list[Any]:
        state, _ = env.reset(seed=11)
        env.action_space.seed(0)
        steps = [env.step(env.action_space.sample()) for _ in range(15)]
        return [state.tobytes()] + [(step[0].tobytes(), *step[1:4]) for step in steps]

    used, fresh = gymnasium.make(ID, **arguments), gymnasium.make(ID, **arguments)
    used.reset(seed=3)
    for _ in range(10):
        used.step(used.action_space.sample())
    assert episode(used) == episode(fresh) == episode(used)


def test_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    video = gymnasium.make(ID, render_mode="rgb_array")
    video.reset(seed=0)
    assert video.render().shape == (400, 600, 3)
    window = gymnasium.make(ID, render_mode="human")
    window.reset(seed=0)
    window.step(np.zeros(3))
    window.close()
    window.close()
    video.step(np.zeros(3))  # closing a window leaves other environments alone


def test_pickles_with_its_arguments_and_runs_in_subprocesses() -> None:
    env = gymnasium.make(ID, renderer="fast", obs_size=48, patience=5)
    copy = pickle.loads(pickle.dumps(env.unwrapped))
    assert copy.observation_space == env.observation_space
    assert copy.patience == 5
    workers = SubprocVecEnv([lambda: gymnasium.make(f"envs:{ID}", renderer="fast", obs_size=48)] * 2, start_method="spawn")
    try:
        assert workers.reset().shape == (2, 48, 48, 3)
        assert workers.step(np.zeros((2, 3)))[0].shape == (2, 48, 48, 3)
    finally:
        workers.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"renderer": "fsat"}, "renderer='fsat' is unknown; choose from 'exact', 'fast'. Did you mean 'fast'?"),
        ({"render_mode": "rgb"}, "Did you mean 'rgb_array'"),
        ({"patience": 0}, "patience=0 must be an integer of at least 1"),
        ({"patience": 2.5}, "patience=2.5"),
        ({"grace": -1}, "grace=-1 must be an integer of at least 0"),
        ({"frame_skip": 0}, "frame_skip=0"),
        ({"obs_size": 8}, "obs_size=8 must be an integer of 16 to 400"),
        ({"obs_size": True}, "obs_size=True"),
        ({"lap_complete_percent": 1.5}, "lap_complete_percent=1.5 must be above 0"),
        ({"lap_complete_percent": float("nan")}, "lap_complete_percent=nan"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    from envs.car_racing.early_stop import CarRacingEarlyStop

    with pytest.raises(ValueError, match=message.replace(".", r"\.").replace("?", r"\?")):
        CarRacingEarlyStop(**arguments)


@pytest.mark.parametrize("action", [[np.nan, 0, 0], [0, np.inf, 0], [0, 0], 1.0, [[0, 0, 0]]], ids=str)
def test_bad_actions_are_refused_and_do_not_move_the_car(action: Any) -> None:
    env = gymnasium.make(ID, renderer="fast").unwrapped
    env.reset(seed=0)
    time = env.t
    with pytest.raises(ValueError, match="three finite numbers"):
        env.step(np.array(action, np.float32))
    assert env.t == time


def test_bad_discrete_actions_are_refused() -> None:
    env = gymnasium.make(ID, renderer="fast", continuous=False).unwrapped
    env.reset(seed=0)
    for action in (5, -1, np.nan):
        with pytest.raises(gymnasium.error.InvalidAction):
            env.step(action)


def test_step_before_reset_is_refused() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded):
        gymnasium.make(ID).unwrapped.step(np.zeros(3))


@pytest.mark.parametrize("package", ["Box2D", "pygame"])
def test_a_missing_package_names_the_extra(package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; import gymnasium, envs; gymnasium.make({ID!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "DependencyNotInstalled" in done.stderr.splitlines()[-1]
    assert 'pip install "spikegym[box2d]"' in done.stderr.splitlines()[-1]


def test_importing_envs_imports_no_pygame() -> None:
    code = "import sys, envs; print(sorted({'pygame', 'Box2D'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_resets_free_bodies_and_surfaces() -> None:
    env = gymnasium.make(ID, renderer="fast").unwrapped
    env.reset(seed=0)
    for seed in range(20):
        env.reset(seed=seed)
    assert env.world.bodyCount == len(env.track) + 5  # the track's tiles, a hull and four wheels
