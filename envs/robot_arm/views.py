"""What the policy is shown: the full observation of 12 values, or what a view makes of it."""

from typing import Protocol

import numpy as np
from gymnasium import spaces

from envs.robot_arm import checks

Point = tuple[float, float]

OBS_MODES = ("full", "target", "clock")
TARGET = slice(8, 10)  # of the full observation
TIP = slice(6, 8)


class View(Protocol):
    """Another observation, made from the full one."""

    @property
    def space(self) -> spaces.Box:
        """Observation space."""

    def begin(self, targets: np.ndarray) -> None:
        """Take in the targets (T, 2) of a new episode."""

    def look(self, k: int, full: np.ndarray) -> np.ndarray:
        """Observation after `k` of the episode's steps."""


def full_space(radius: float) -> spaces.Box:
    """Space of the full observation of an arm of length `radius`."""
    high = np.array([1.0] * 6 + [radius] * 4 + [2 * radius] * 2, np.float32)
    return spaces.Box(-high, high, dtype=np.float32)


def make_view(obs_mode: str, horizon: int, radius: float, preview: int, phase: bool, n_clock: int) -> View | None:
    """The view of these arguments of the environment; None is the full observation as it is."""
    checks.choice("obs_mode", obs_mode, OBS_MODES)
    preview, n_clock = checks.integer("preview", preview, -1, horizon), checks.integer("n_clock", n_clock, 1)
    if preview != 0 and obs_mode != "full":
        raise ValueError(f"preview={preview} needs obs_mode='full': '{obs_mode}' does not show the arm.")
    if obs_mode == "target":
        return TargetView(horizon, radius)
    if obs_mode == "clock":
        return ClockView(horizon, n_clock)
    return LongerView(horizon, radius, max(preview, 0), phase) if preview > 0 or phase else None


class LongerView:
    """The full observation, then `preview` targets ahead relative to the tip, then the phase."""

    def __init__(self, horizon: int, radius: float, preview: int, phase: bool) -> None:
        self.horizon, self.preview, self.phase = horizon, preview, int(phase)
        ahead = np.full(2 * preview, 2 * radius, np.float32)
        high = np.concatenate((full_space(radius).high, ahead, np.ones(int(phase), np.float32)))
        low = np.concatenate((full_space(radius).low, -ahead, np.zeros(int(phase), np.float32)))
        self.space: spaces.Box = spaces.Box(low, high, dtype=np.float32)

    def begin(self, targets: np.ndarray) -> None:
        self.targets = np.concatenate((targets, np.repeat(targets[-1:], self.preview + 1, axis=0))).astype(np.float32)

    def look(self, k: int, full: np.ndarray) -> np.ndarray:
        ahead = self.targets[k + 1 : k + 1 + self.preview] - full[TIP]
        return np.concatenate((full, ahead.ravel(), np.full(self.phase, k / self.horizon, np.float32)))


class TargetView:
    """The next target and the phase, nothing of the arm: open-loop control, which needs memory."""

    def __init__(self, horizon: int, radius: float) -> None:
        self.horizon = horizon
        low, high = np.array([-radius, -radius, 0.0], np.float32), np.array([radius, radius, 1.0], np.float32)
        self.space: spaces.Box = spaces.Box(low, high, dtype=np.float32)

    def begin(self, targets: np.ndarray) -> None:
        """The full observation holds the target."""

    def look(self, k: int, full: np.ndarray) -> np.ndarray:
        return np.append(full[TARGET], np.float32(k / self.horizon))


class ClockView:
    """Which of `n_clock` equal parts of the episode it is (one-hot), and the phase: the input of the e-prop study."""

    def __init__(self, horizon: int, n_clock: int) -> None:
        self.space: spaces.Box = spaces.Box(0.0, 1.0, (n_clock + 1,), np.float32)
        step = np.arange(horizon + 1)
        part = np.minimum(step * n_clock // horizon, n_clock - 1)
        self.rows = np.hstack((np.eye(n_clock)[part], step[:, None] / horizon)).astype(np.float32)

    def begin(self, targets: np.ndarray) -> None:
        """The clock is the same in every episode."""

    def look(self, k: int, full: np.ndarray) -> np.ndarray:
        return self.rows[k].copy()
