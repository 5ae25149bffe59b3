"""What is computed from the rewards around a moment of an episode."""

from typing import NamedTuple

import numpy as np


class Recovery(NamedTuple):
    """Numbers of each episode that was still running at the moment, all (E,); rates are rewards per step.

    :param before: return of the steps before the moment
    :param after: return from the moment on
    :param rate_before: mean over the last `window` steps before the moment
    :param rate_after: mean over the first `window` steps from the moment on
    :param rate_end: mean over the last `window` steps
    :param steps: until the rate is back (see `recovery_steps`); nan: never
    :param percent: see `percent_of`, of `rate_end` and `rate_before`
    """

    before: np.ndarray
    after: np.ndarray
    rate_before: np.ndarray
    rate_after: np.ndarray
    rate_end: np.ndarray
    steps: np.ndarray
    percent: np.ndarray


def measure_recovery(rewards: np.ndarray, at: int, window: int, fraction: float) -> Recovery:
    """Compare rewards before and after a moment.

    :param rewards: (E, T), nan after an episode's end; from there on it earns nothing, and so it counts as zero
    :param at: the first step after the moment; episodes that ended before are left out
    :param window: steps, at most `at`
    :param fraction: of the rate before that counts as recovered
    """
    reached = rewards[~np.isnan(rewards[:, at])] if at < rewards.shape[1] else rewards[:0]
    missing = max(0, at + window - rewards.shape[1])
    earned = np.pad(np.nan_to_num(reached, nan=0.0), ((0, 0), (0, missing)))
    rate_before, rate_end = earned[:, at - window : at].mean(1), earned[:, -window:].mean(1)
    return Recovery(
        before=earned[:, :at].sum(1),
        after=earned[:, at:].sum(1),
        rate_before=rate_before,
        rate_after=earned[:, at : at + window].mean(1),
        rate_end=rate_end,
        steps=recovery_steps(earned[:, at:], rate_before, window, fraction),
        percent=percent_of(rate_end, rate_before),
    )


def recovery_steps(after: np.ndarray, rate_before: np.ndarray, window: int, fraction: float) -> np.ndarray:
    """Steps from the moment to the first window of steps, wholly after it, whose mean is no further below the rate before
    than (1 - fraction) of its size (for positive rates: at least `fraction` of it). Zero: the rate never fell below.

    :param after: rewards (E, steps) from the moment on
    :param rate_before: (E,)
    :return: (E,), nan where there is no such window
    """
    back = moving_mean(after, window) >= (rate_before - (1 - fraction) * np.abs(rate_before))[:, None]
    return np.where(back.any(1), back.argmax(1), np.nan)


def percent_of(rate: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """100 less the percentage of the reference's size by which the rate is below it: for positive references how many
    percent of them it is, and less than 100 is worse for negative ones too; nan for a reference of zero."""
    size = np.abs(reference)
    return 100 * (1 - np.divide(reference - rate, size, out=np.full(np.shape(size), np.nan), where=size > 0))


def moving_mean(rewards: np.ndarray, window: int) -> np.ndarray:
    """Mean of each `window` steps in a row, (E, T) -> (E, T - window + 1)."""
    return np.lib.stride_tricks.sliding_window_view(rewards, window, axis=1).mean(-1)
