"""A planar arm of two joints whose tip follows a drawn path; importing this package imports only NumPy."""

from envs.robot_arm.controllers import inverse_kinematics, oracle
from envs.robot_arm.generator import PRESETS, Trajectories, TrajectoryGenerator, make_generator
from envs.robot_arm.kinematics import forward, inverse

__all__ = [
    "PRESETS",
    "Trajectories",
    "TrajectoryGenerator",
    "forward",
    "inverse",
    "inverse_kinematics",
    "make_generator",
    "oracle",
]
