"""Reference controllers of RobotTrajectory-v0: what perfect knowledge, and knowledge of the target only, achieve."""

from typing import TYPE_CHECKING

import gymnasium
import numpy as np

from envs.robot_arm.kinematics import inverse

if TYPE_CHECKING:
    from envs.robot_arm.trajectory import RobotTrajectoryEnv


def oracle(env: gymnasium.Env) -> np.ndarray:
    """Action (2,) that brings the joints to the angles which the next target was drawn with.

    On the path it is the drawn velocity in units of `omega_max`; off the path (`init_noise`, `q0`) it returns to it.
    """
    arm = _arm(env)
    return _toward(arm, arm.target_joints[min(arm.step_count, arm.horizon - 1)])


def inverse_kinematics(env: gymnasium.Env, delay: int = 0) -> np.ndarray:
    """Action (2,) that brings the tip to the target of `delay` steps ago, in closed form; at first, to the first target.

    It reads the joints and a target, both of which the observation holds: a policy without memory can do as well.
    """
    arm = _arm(env)
    step = max(min(arm.step_count, arm.horizon - 1) - delay, 0)
    return _toward(arm, inverse(arm.targets[step], arm.link_lengths, near=arm.joints[0]))


def _toward(arm: "RobotTrajectoryEnv", joints: np.ndarray) -> np.ndarray:
    """Action that moves straight to `joints`, at full speed where they are further than one step away."""
    return np.clip((joints - arm.joints) / arm.reach, -1.0, 1.0).astype(np.float32)


def _arm(env: gymnasium.Env) -> "RobotTrajectoryEnv":
    from envs.robot_arm.trajectory import RobotTrajectoryEnv

    if not isinstance(env.unwrapped, RobotTrajectoryEnv):
        raise TypeError(f"{env.unwrapped!r} is not a RobotTrajectory-v0 environment.")
    return env.unwrapped
