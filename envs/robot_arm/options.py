"""The options of the environment's reset: which path, and where the arm starts."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.robot_arm import checks
from envs.robot_arm.generator import Trajectories, TrajectoryGenerator, follow

OPTIONS = ("trajectory_seed", "trajectory", "static", "q0")
JOINT_LIMIT = math.pi / 2 + 0.05  # rad; a little beyond the targets, which stay within pi/2


def checked(options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The options given, with those that are None or False left out."""
    given = {name: value for name, value in (options or {}).items() if value is not None and value is not False}
    for name in options or {}:
        if name not in OPTIONS:
            raise ValueError(checks.unknown("reset option", name, OPTIONS))
    paths = [name for name in ("trajectory_seed", "trajectory", "static") if name in given]
    if len(paths) > 1:
        raise ValueError(f"Reset options {' and '.join(paths)} each choose a path; give one of them.")
    return given


def given_path(omega: Any, generator: TrajectoryGenerator, omega_max: float) -> Trajectories:
    """The path of joint velocities `omega` (T, 2) in rad/s, which the arm has to be able to follow."""
    omega = np.array(omega, np.float64)
    if omega.shape != (generator.horizon, 2) or not np.isfinite(omega).all():
        raise ValueError(f"Reset option trajectory must hold finite joint velocities of shape ({generator.horizon}, 2).")
    path = follow(omega, generator.dt, generator.link_lengths)
    fastest, furthest = np.abs(omega).max(), np.abs(path.phi).max()
    if fastest > omega_max or furthest > math.pi / 2:
        raise ValueError(
            f"Reset option trajectory needs {fastest:.4g} rad/s and joint angles of {furthest:.4g} rad; "
            f"allowed are omega_max={omega_max:g} rad/s and pi/2."
        )
    return path


def given_start(q0: Any) -> tuple[float, float]:
    """Two joint angles within the limits of the joints."""
    angles = np.asarray(q0, np.float64)
    if angles.shape != (2,) or not (np.abs(angles) <= JOINT_LIMIT).all():
        raise ValueError(f"Reset option q0={q0!r} must be two joint angles within +-{JOINT_LIMIT:.4f} rad.")
    return float(angles[0]), float(angles[1])
