"""Random movements of the two-joint arm: sums of sines as joint velocities, and the path of the tip that they draw.

The task family was introduced for one-shot learning of arm movements with e-prop: Bellec, Scherr, et al. 2019
(arXiv:1901.09049); Scherr, Stoeckl, Maass 2020 (bioRxiv 2020.06.17.156513).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from envs.robot_arm import checks
from envs.robot_arm.kinematics import LINKS, forward

ENV_DRAWS = ("P0", "A0", "th0", "P1", "th1")
EPROP_DRAWS = ("P0", "th0", "A0", "th1", "A1", "P1")  # A1 cancels, but its random numbers are spent


class Trajectories(NamedTuple):
    """A batch of B movements of T steps; entry k of `phi` and `xy` is the arm after velocity k was applied."""

    omega: np.ndarray  # (B, T, 2) joint velocities in rad/s
    phi: np.ndarray  # (B, T, 2) joint angles in rad, from rest
    xy: np.ndarray  # (B, T, 2) tip


def follow(omega: np.ndarray, dt: float, links: tuple[float, float] = LINKS) -> Trajectories:
    """The movement from rest under joint velocities (..., T, 2): phi(k) = dt sum_{s<=k} omega(s)."""
    phi = dt * np.cumsum(omega, axis=-2)
    return Trajectories(omega, phi, forward(phi, links))


@dataclass(frozen=True)
class TrajectoryGenerator:
    """Generator of movements. With t = linspace(0, 2 pi, horizon) and i over the sines,

        joint 0   w0(t) = sum_i A0_i sin(t / P0_i + th0_i)
        joint 1   w1(t) = C sum_i s_i(t) / (max_t s_i - min_t s_i),   s_i(t) = sin(t / P1_i + th1_i)

    where P is uniform in `period_range`, A0 in [0, amp0), th in [0, 2 pi), and C = `pp1`, the peak-to-peak velocity
    of one sine of joint 1. Each joint is then slowed down by one factor per movement so that its angle stays within
    `phi_max` and its velocity within `omega_bound`.

    Random numbers are drawn movement by movement: a batch holds the same movements as that many single calls.
    """

    horizon: int = 250  # steps T
    duration: float = 5.0  # seconds
    n_sines: int = 5
    period_range: tuple[float, float] = (0.3, 1.0)  # in units of the duration / (2 pi)
    amp0: float | None = None  # rad/s; None: 15 / duration, which draws the same paths at any duration
    pp1: float | None = None  # rad/s; None: 10 / duration
    phi_max: float = 0.9 * math.pi / 2  # rad; below pi/2 the inverse kinematics stay clear of their singularities
    omega_bound: float | None = 4.75  # rad/s; None: unbounded
    link_lengths: tuple[float, float] = LINKS
    min_max: tuple[float, float] | None = None  # stretch each movement's x and y to this range; None: leave them
    draws: tuple[str, ...] = ENV_DRAWS

    def __post_init__(self) -> None:
        checks.integer("horizon", self.horizon, 2)
        checks.number("duration", self.duration, 0.0, above=True)
        checks.integer("n_sines", self.n_sines, 1)
        low, high = checks.pair("period_range", self.period_range)
        if low > high:
            raise ValueError(f"period_range={self.period_range!r} must be (shortest, longest).")
        for name in ("amp0", "pp1"):
            if getattr(self, name) is not None:
                checks.number(name, getattr(self, name), 0.0)
        checks.number("phi_max", self.phi_max, 0.0, math.pi / 2, above=True)
        if self.omega_bound is not None:
            checks.number("omega_bound", self.omega_bound, 0.0, above=True)
        checks.pair("link_lengths", self.link_lengths)
        if sorted(set(self.draws) | {"A1"}) != sorted(EPROP_DRAWS) or len(set(self.draws)) != len(self.draws):
            raise ValueError(f"draws={self.draws!r} must name each of {', '.join(ENV_DRAWS)} once, and may name A1.")

    @property
    def dt(self) -> float:
        """Seconds per step."""
        return self.duration / self.horizon

    @cached_property
    def _time(self) -> np.ndarray:
        return np.linspace(0.0, 2 * math.pi, self.horizon)

    def sample(self, rng: np.random.Generator | np.random.RandomState, batch: int = 1) -> Trajectories:
        """`batch` random movements."""
        uniform = rng.random((batch, len(self.draws), self.n_sines, 1))
        u = {name: uniform[:, i] for i, name in enumerate(self.draws)}
        amp0 = 15 / self.duration if self.amp0 is None else self.amp0
        pp1 = 10 / self.duration if self.pp1 is None else self.pp1

        w0 = (amp0 * u["A0"] * self._sines(u["P0"], u["th0"])).sum(axis=1)
        s = self._sines(u["P1"], u["th1"])
        span = s.max(axis=-1, keepdims=True) - s.min(axis=-1, keepdims=True)
        w1 = (pp1 / np.maximum(span, np.finfo(float).tiny) * s).sum(axis=1)

        path = self._slowed(np.stack((w0, w1), axis=1))
        return path if self.min_max is None else path._replace(xy=_stretched(path.xy, *self.min_max))

    def _sines(self, period: np.ndarray, phase: np.ndarray) -> np.ndarray:
        low, high = self.period_range
        return np.sin(self._time / (low + (high - low) * period) + 2 * math.pi * phase)

    def _slowed(self, omega: np.ndarray) -> Trajectories:
        """Follow velocities (B, 2, T) times one factor of at most 1 per movement and joint."""
        phi = self.dt * omega.cumsum(axis=-1)
        excess = np.abs(phi).max(axis=-1, keepdims=True) / self.phi_max
        if self.omega_bound is not None:
            excess = np.maximum(excess, np.abs(omega).max(axis=-1, keepdims=True) / self.omega_bound)
        factor = 1 / np.maximum(excess, 1.0)
        angles = (factor * phi).swapaxes(1, 2)
        return Trajectories((factor * omega).swapaxes(1, 2), angles, forward(angles, self.link_lengths))


def _stretched(xy: np.ndarray, low: float, high: float) -> np.ndarray:
    """`xy` (B, T, 2) with every coordinate of every movement mapped to [low, high]; a constant one to `low`."""
    least = xy.min(axis=1, keepdims=True)
    span = xy.max(axis=1, keepdims=True) - least
    return low + (high - low) * (xy - least) / np.where(span > 0, span, 1.0)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # What RobotTrajectory-v0 draws from: the same paths at any duration, bounded angles and velocities.
    "env": {},
    # The constants of the e-prop study: 500 steps of 1 ms.
    "eprop": {
        "horizon": 500,
        "duration": 0.5,
        "amp0": 30.0,
        "pp1": 20.0,
        "phi_max": math.pi / 2,
        "omega_bound": None,
        "draws": EPROP_DRAWS,
    },
    # The supervised data set of the published regression study, to compare with its numbers: 30 steps of 10 us, in
    # which the arm hardly moves (0.02 rad), each movement stretched to [1, 10]. Its draws: RandomState(3000).
    "published": {
        "horizon": 30,
        "duration": 30e-5,
        "amp0": 75.0,
        "pp1": 40.0,
        "phi_max": math.pi / 2,
        "omega_bound": None,
        "link_lengths": (1.0, 1.0),
        "min_max": (1.0, 10.0),
        "draws": EPROP_DRAWS,
    },
}


def make_generator(preset: str = "env", **changes: Any) -> TrajectoryGenerator:
    """The generator of a preset ("env", "eprop", "published") with some of its fields changed."""
    checks.choice("preset", preset, PRESETS)
    known = [field.name for field in fields(TrajectoryGenerator)]
    for name in changes:
        if name not in known:
            raise TypeError(checks.unknown("generator key", name, known))
    return TrajectoryGenerator(**{**PRESETS[preset], **changes})
