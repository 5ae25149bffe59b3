"""Meta-World's tasks, with object and goal drawn from the environment's own seed."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest

from envs.continual.scenarios import load_scenario

metaworld = pytest.importorskip("metaworld")
TASKS = [task.name for task in load_scenario("continual_world/cw10").tasks]


@pytest.mark.parametrize("task", TASKS)
def test_object_and_goal_are_drawn_anew_from_the_own_seed(task: str) -> None:
    def starts(env: gymnasium.Env, seed: int) -> np.ndarray:
        return np.stack([env.reset(seed=seed)[0], *(env.reset()[0] for _ in range(3))])

    env, other = gymnasium.make("ContinualWorld-v0", task=task), gymnasium.make("ContinualWorld-v0", task=task)
    expected = starts(env, 5)
    assert expected.shape == (4, 39)
    assert len(np.unique(expected[:, 36:].round(9), axis=0)) + len(np.unique(expected[:, 4:18].round(9), axis=0)) >= 5
    assert expected[:, 36:].any()
    np.random.seed(0)  # noqa: NPY002  (Meta-World's own draws are the global generator's)
    starts(other, 6)
    np.testing.assert_array_equal(starts(other, 5), expected)
    assert (starts(env, 6) != expected).any()


def test_an_episode_has_200_steps_and_tells_of_success() -> None:
    """With Meta-World's own solution of the task."""
    from metaworld.policies import ENV_POLICY_MAP

    env = gymnasium.make("ContinualWorld-v0", task="window-close")
    for seed in range(3):
        obs, _ = env.reset(seed=seed)
        policy, successes = ENV_POLICY_MAP["window-close-v3"](), []
        for step in range(200):
            obs, reward, terminated, truncated, info = env.step(np.clip(policy.get_action(obs), -1, 1).astype(np.float32))
            successes.append(info["success"])
            assert 0 <= reward <= 10
            assert not terminated
            assert truncated == (step == 199)
        assert set(successes) == {0.0, 1.0}
        assert successes[0] == 0.0
    longer = gymnasium.make("ContinualWorld-v0", max_episode_steps=510)
    longer.reset(seed=0)
    assert [longer.step(np.zeros(4, np.float32))[3] for _ in range(510)] == [False] * 509 + [True]


def test_both_rewards() -> None:
    rewards = []
    for version in ("v1", "v2"):
        env = gymnasium.make("ContinualWorld-v0", task="hammer", reward_version=version)
        env.reset(seed=0)
        rewards.append(env.step(np.full(4, 0.5, np.float32))[1])
    assert rewards[0] != rewards[1]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="Did you mean 'window-close'"):
        gymnasium.make("ContinualWorld-v0", task="window-closed")
    with pytest.raises(ValueError, match="reward_version='v3' is unknown"):
        gymnasium.make("ContinualWorld-v0", reward_version="v3")
    env = gymnasium.make("ContinualWorld-v0")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="finite"):
        env.unwrapped.step(np.full(4, np.nan))


def test_without_the_package_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['metaworld'] = None\n"
        "import gymnasium, envs\n"
        "try:\n    gymnasium.make('ContinualWorld-v0')\n"
        "except gymnasium.error.DependencyNotInstalled as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "spikegym[metaworld]"' in done.stdout
