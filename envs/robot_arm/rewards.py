"""Rewards of the distance d between tip and target; `sigma` is the width of the first."""

from collections.abc import Callable, Mapping
from math import exp


def gaussian(distance: float, sigma: float) -> float:
    """exp(-(d / sigma)^2)."""
    z = distance / sigma
    return exp(-z * z)


def neg_dist(distance: float, sigma: float) -> float:
    """-d."""
    return -distance


def neg_sq(distance: float, sigma: float) -> float:
    """-d^2."""
    return -distance * distance


REWARDS: Mapping[str, Callable[[float, float], float]] = {"gaussian": gaussian, "neg_dist": neg_dist, "neg_sq": neg_sq}
