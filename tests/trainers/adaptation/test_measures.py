"""Measures of recovery on rewards written by hand."""

import numpy as np
import pytest

from trainers.adaptation.measures import measure_recovery, moving_mean, percent_of, recovery_steps

NAN = np.nan


def test_a_hand_made_dip() -> None:
    """2 a step; from step 10 on 0; from step 15 on 1; from step 20 on 2."""
    rewards = np.repeat([2.0, 2.0, 0.0, 1.0, 2.0], 5)[None]
    recovery = measure_recovery(rewards, at=10, window=2, fraction=0.9)
    values = {name: float(value[0]) for name, value in recovery._asdict().items()}
    assert values == {
        "before": 20.0,
        "after": 15.0,
        "rate_before": 2.0,
        "rate_after": 0.0,
        "rate_end": 2.0,
        "steps": 10.0,  # the window of steps 20 and 21 is the first with a mean of at least 1.8
        "percent": 100.0,
    }
    assert measure_recovery(rewards, 10, 2, 0.75).steps[0] == 9  # steps 19 and 20: 1.5
    assert measure_recovery(rewards, 10, 2, 0.5).steps[0] == 5


def test_rates_that_never_fell_and_never_came_back() -> None:
    steady, fallen = np.ones(20), np.r_[np.ones(10), np.zeros(10)]
    recovery = measure_recovery(np.stack([steady, fallen]), at=10, window=5, fraction=0.9)
    np.testing.assert_array_equal(recovery.steps, [0.0, NAN])
    np.testing.assert_array_equal(recovery.percent, [100.0, 0.0])


def test_exponential_recovery_is_the_closed_form() -> None:
    """r(k) = 1 - exp(-k / tau) reaches a fraction f at k = -tau ln(1 - f), and a window over it a little earlier."""
    tau, fraction, window = 40.0, 0.9, 5
    after = 1 - np.exp(-np.arange(300) / tau)
    steps = recovery_steps(after[None], np.ones(1), window, fraction)[0]
    mean_factor = (1 - np.exp(-window / tau)) / (window * (1 - np.exp(-1 / tau)))
    assert steps == np.ceil(-tau * np.log((1 - fraction) / mean_factor))


def test_rewards_below_zero() -> None:
    """From -1 a step to -3, and back to -1.05: within a tenth of the size."""
    rewards = np.r_[np.full(10, -1.0), np.full(10, -3.0), np.full(10, -1.05)][None]
    recovery = measure_recovery(rewards, at=10, window=5, fraction=0.9)
    assert recovery.steps[0] == 10
    assert recovery.percent[0] == pytest.approx(95.0)
    assert np.isnan(measure_recovery(rewards, 10, 5, 0.96).steps[0])


def test_percentages() -> None:
    np.testing.assert_allclose(
        percent_of(np.array([5.0, -1.0, -2.0, 1.0]), np.array([10.0, 10.0, -1.0, 0.0])), [50, -10, 0, NAN]
    )


def test_an_ended_episode_earns_nothing_and_one_that_ended_before_is_left_out() -> None:
    rewards = np.ones((3, 20))
    rewards[1, 12:] = NAN  # falls two steps after the event
    rewards[2, 10:] = NAN  # falls right before it
    recovery = measure_recovery(rewards, at=10, window=4, fraction=0.9)
    assert len(recovery.steps) == 2
    np.testing.assert_array_equal(recovery.after, [10.0, 2.0])
    np.testing.assert_array_equal(recovery.rate_after, [1.0, 0.5])
    np.testing.assert_array_equal(recovery.steps, [0.0, NAN])
    np.testing.assert_array_equal(recovery.percent, [100.0, 0.0])


@pytest.mark.parametrize("length", [5, 10, 11, 13])
def test_episodes_that_are_all_short(length: int) -> None:
    recovery = measure_recovery(np.ones((2, length)), at=10, window=4, fraction=0.9)
    assert len(recovery.steps) == (2 if length > 10 else 0)
    if length > 10:
        np.testing.assert_array_equal(recovery.rate_after, (length - 10) / 4)


def test_moving_mean_is_a_slow_loop() -> None:
    x = np.random.default_rng(0).normal(size=(2, 12))
    expected = [[np.mean(row[i : i + 3]) for i in range(10)] for row in x]
    np.testing.assert_allclose(moving_mean(x, 3), expected)
