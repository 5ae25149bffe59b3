"""From numbers to spikes and back, as arithmetic on arrays."""

from collections.abc import Callable
from typing import Any

Array = Any


def receptive_field(x: Array, centre: Array, width: Array, exp: Callable[[Array], Array]) -> Array:
    """Activity in (0, 1] of neurons tuned to `centre`: exp(-(x - centre)^2 / (2 width^2)) (PopSAN, arXiv 2010.09635)."""
    distance = (x - centre) / width
    return exp(-0.5 * distance * distance)


def integrate_and_fire(v: Array, activity: Array, v_th: float, spike: Callable[[Array], Array]) -> tuple[Array, Array]:
    """PopSAN's deterministic encoder: v <- v + activity; fires above v_th, which is then taken away. Returns (v, s)."""
    v = v + activity
    s = spike(v - v_th)
    return v - v_th * s, s


def golden_threshold(t: int) -> float:
    """The t-th of evenly scattered numbers in (0, 1). A probability above this many of them gives as many spikes in the
    first steps as it should: rate coding without chance, for the time when a network is used and not trained."""
    return (0.5 + 0.6180339887498949 * t) % 1.0
