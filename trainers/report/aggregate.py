"""Statistics over seeds, as in rliable (arXiv 2108.13264): interquartile means with intervals from the bootstrap."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

Statistic = Callable[..., np.ndarray]


def iqm(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Mean without the lowest and the highest quarter, each rounded down to whole values: with up to 3 it is the mean."""
    return np.asarray(stats.trim_mean(values, 0.25, axis=axis))


STATISTICS: dict[str, Statistic] = {"iqm": iqm, "mean": np.mean, "median": np.median}


class Estimate(NamedTuple):
    """A statistic and the limits of its interval, which are NaN for a single seed."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def estimate(values: np.ndarray, statistic: Statistic, confidence: float = 0.95, resamples: int = 2000) -> Estimate:
    """A statistic over the first axis (seeds), with an interval from the percentiles of bootstrap samples of the seeds.

    :param values: (seeds, ...)
    """
    value = np.asarray(statistic(values, axis=0))
    if len(values) < 2:
        return Estimate(value, np.full_like(value, np.nan, float), np.full_like(value, np.nan, float))
    interval = stats.bootstrap(
        (values,),
        statistic,
        axis=0,
        vectorized=True,
        n_resamples=resamples,
        batch=100,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(value, interval.low, interval.high)


def estimate_over_tasks(
    scores: Sequence[np.ndarray], statistic: Statistic, confidence: float = 0.95, resamples: int = 2000
) -> Estimate:
    """A statistic over the scores of all tasks together; bootstrap samples draw seeds anew within each task.

    :param scores: of each task, (seeds,), on a scale that the tasks share
    """
    value = np.asarray(statistic(np.concatenate(scores), axis=0))
    if max(map(len, scores)) < 2:
        return Estimate(value, np.asarray(np.nan), np.asarray(np.nan))
    rng = np.random.default_rng(0)
    drawn = [task[rng.integers(len(task), size=(resamples, len(task)))] for task in scores]
    samples = statistic(np.concatenate(drawn, axis=1), axis=1)
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value, low, high)
