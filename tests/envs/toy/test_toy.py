import itertools

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs  # noqa: F401
from envs.toy.objectives import OBJECTIVES, make_objective
from envs.toy.task import make_task

IDS = {"HalfOneMax-v0": "half_one_max", "Quadratic-v0": "quadratic", "Deceptive-v0": "deceptive"}


def _by_hand(name: str, x: list[float]) -> float:
    if name == "half_one_max":
        return sum(1 for value in x[: len(x) // 2] if value > 0)
    if name == "quadratic":
        return -sum((value - (0.5 if i % 2 == 0 else -0.5)) ** 2 for i, value in enumerate(x))
    total = 0
    for start in range(0, len(x), 4):
        ones = sum(value > 0 for value in x[start : start + 4])
        total += 4 if ones == 4 else 3 - ones
    return total


@pytest.mark.parametrize("name", OBJECTIVES)
@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-1, 1, width=32, allow_subnormal=False), min_size=8, max_size=8))
def test_objectives_are_their_loops_in_numpy_and_jax(name: str, x: list[float]) -> None:
    function, point = OBJECTIVES[name].function, np.asarray(x, np.float32)
    assert float(function(point)) == pytest.approx(_by_hand(name, x), rel=1e-5)
    assert float(function(jnp.asarray(point))) == pytest.approx(_by_hand(name, x), rel=1e-5)
    np.testing.assert_allclose(function(np.stack([point, -point])), [function(point), function(-point)], rtol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_nothing_is_better_than_the_optimum(name: str) -> None:
    objective = OBJECTIVES[name]
    grid = (-1.0, -0.5, 0.5, 1.0) if name == "quadratic" else (-1.0, 1.0)
    values = [objective.function(np.array(x)) for x in itertools.product(grid, repeat=8 if len(grid) == 2 else 4)]
    assert max(values) == objective.optimum(8 if len(grid) == 2 else 4)


def test_the_deceptive_one_deceives() -> None:
    """From all zeros every change of up to three bits loses; by itself, every bit does better as a zero."""
    everything = np.array(list(itertools.product((-1.0, 1.0), repeat=4)))
    values = OBJECTIVES["deceptive"].function(everything)
    ones = (everything > 0).sum(1)
    assert (values[(ones > 0) & (ones < 4)] < values[ones == 0]).all()
    assert values[ones == 4] > values[ones == 0]
    assert all(values[everything[:, i] < 0].mean() > values[everything[:, i] > 0].mean() for i in range(4))


@pytest.mark.parametrize("env_id", IDS)
def test_an_episode_is_one_step_that_pays_the_objective(env_id: str) -> None:
    env = gymnasium.make(env_id)
    env.action_space.seed(0)
    assert env.spec is not None
    assert env.reset(seed=0)[0].tolist() == [1.0]
    action = env.action_space.sample()
    obs, reward, terminated, truncated, _ = env.step(action)
    assert (obs.tolist(), terminated, truncated) == ([1.0], True, False)
    assert reward == pytest.approx(_by_hand(IDS[env_id], action.tolist()), rel=1e-4)
    env.reset()
    best = env.step(env.unwrapped.solution)[1]
    assert best == env.unwrapped.optimum >= env.spec.reward_threshold > reward


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_task_in_jax_is_the_environment(name: str) -> None:
    env = gymnasium.make(next(i for i, objective in IDS.items() if objective == name), size=8)
    task = make_task(name, 8)
    assert make_task(name, 8) is task
    state = task.reset(None)
    for action in np.random.default_rng(0).uniform(-1.5, 1.5, (5, 8)).astype(np.float32):
        env.reset()
        played = task.step(state, jnp.asarray(action))
        assert float(played.reward) == pytest.approx(env.unwrapped.step(action)[1], rel=1e-6)
        assert bool(played.terminated)
        assert not bool(state.terminated)
    assert np.isnan(task.step(state, jnp.full(8, jnp.nan)).reward)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="Did you mean 'deceptive'"):
        make_objective("decepive", 8)
    with pytest.raises(ValueError, match="size=6 must be a multiple of 4 for deceptive"):
        gymnasium.make("Deceptive-v0", size=6)
    with pytest.raises(ValueError, match=r"size=2\.5 must be an integer"):
        gymnasium.make("Quadratic-v0", size=2.5)
    with pytest.raises(ValueError, match="finite numbers"):
        gymnasium.make("Quadratic-v0", size=2).unwrapped.step(np.array([0.0, np.nan]))
