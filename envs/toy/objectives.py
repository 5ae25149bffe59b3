"""Functions of a point x in [-1, 1]^n to maximise; arithmetic that NumPy and JAX share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from envs.robot_arm import checks

TRAP = 4  # bits of a block of the deceptive objective


def half_one_max(x: Any) -> Any:
    """Ones in the first half; the other half is neutral. x (..., n) -> (...); an entry above 0 is a one.

    What Distributional Crossover was tried on in its released code, where the target is the first half of a network's
    synapses.
    """
    return (x[..., : x.shape[-1] // 2] > 0).sum(-1)


def quadratic(x: Any) -> Any:
    """Minus the squared distance to (0.5, -0.5, 0.5, ...): x (..., n) -> (...)."""
    return -((x[..., ::2] - 0.5) ** 2).sum(-1) - ((x[..., 1::2] + 0.5) ** 2).sum(-1)


def deceptive(x: Any) -> Any:
    """Traps (Deb & Goldberg 1993): a block of k = 4 bits with u ones is worth k when all are ones, else k - 1 - u.

    Every bit by itself does better as a zero, and all zeros are worth (k - 1) / k of the optimum: strategies that know no
    more than the probability of each bit go there. x (..., n) -> (...), n a multiple of k; an entry above 0 is a one.
    """
    ones = (x > 0).reshape(*x.shape[:-1], -1, TRAP).sum(-1)
    return (TRAP - 1 - ones + (TRAP + 1) * (ones == TRAP)).sum(-1)


class Objective(NamedTuple):
    """A function to maximise and what is known of it."""

    function: Callable[[Any], Any]
    """x (..., n) -> values (...)."""
    solution: Callable[[int], np.ndarray]
    """n -> a point with the largest value there is, float32 (n,)."""
    multiple: int
    """n must be a multiple of this."""

    def optimum(self, size: int) -> float:
        """The largest value of points of this size."""
        return float(self.function(self.solution(size)))


OBJECTIVES: dict[str, Objective] = {
    "half_one_max": Objective(half_one_max, lambda n: np.where(np.arange(n) < n // 2, 1, -1).astype(np.float32), 2),
    "quadratic": Objective(quadratic, lambda n: np.where(np.arange(n) % 2 == 0, 0.5, -0.5).astype(np.float32), 1),
    "deceptive": Objective(deceptive, lambda n: np.ones(n, np.float32), TRAP),
}


def make_objective(name: str, size: int) -> Objective:
    """The objective of that name; ValueError for an unknown name, or a size that it cannot have."""
    objective = OBJECTIVES[checks.choice("objective", name, OBJECTIVES)]
    if checks.integer("size", size, 1) % objective.multiple:
        raise ValueError(f"size={size} must be a multiple of {objective.multiple} for {name}.")
    return objective
