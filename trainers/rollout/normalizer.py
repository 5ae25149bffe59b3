"""Running statistics of observations, exact to float64 and independent of the order in which work was done."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

STD_FLOOR = 1e-2
CLIP = 10.0


class Moments(NamedTuple):
    """Number of observations (total), mean (D,) and sum of squared deviations (D,), float64."""

    total: float
    mean: np.ndarray
    m2: np.ndarray

    @staticmethod
    def empty(size: int) -> "Moments":
        return Moments(0.0, np.zeros(size), np.zeros(size))

    @property
    def std(self) -> np.ndarray:
        """Standard deviation, at least `STD_FLOOR`; 1 before any data."""
        if self.total == 0:
            return np.ones_like(self.mean)
        return np.maximum(np.sqrt(self.m2 / self.total), STD_FLOOR)

    def merge(self, other: "Moments") -> "Moments":
        """Statistics of both samples together (Chan, Golub & LeVeque 1979)."""
        total = self.total + other.total
        if total == 0:
            return self
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.total / total)
        return Moments(total, mean, self.m2 + other.m2 + delta**2 * (self.total * other.total / total))


def moments_from_sums(count: np.ndarray, first: np.ndarray, second: np.ndarray, shift: np.ndarray) -> Moments:
    """Moments from each episode's sums of (x - shift) and (x - shift)^2, (L, D); non-finite episodes are dropped."""
    keep = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
    n = float(count[keep].sum())
    if n == 0:
        return Moments.empty(shift.shape[0])
    s1, s2 = first[keep].astype(np.float64).sum(axis=0), second[keep].astype(np.float64).sum(axis=0)
    return Moments(n, shift + s1 / n, np.maximum(s2 - s1**2 / n, 0.0))


class Scaling(NamedTuple):
    """Frozen normaliser on the device: (x - mean) / std, clipped. Without statistics, x as it is."""

    mean: jax.Array
    std: jax.Array

    @staticmethod
    def of(moments: Moments) -> "Scaling":
        return Scaling(jnp.asarray(moments.mean, jnp.float32), jnp.asarray(moments.std, jnp.float32))

    def __call__(self, obs: jax.Array) -> jax.Array:
        if self.mean.shape == (0,):
            return obs
        return jnp.clip((obs - self.mean) / self.std, -CLIP, CLIP)
