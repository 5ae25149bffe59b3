"""What the damaged MuJoCo robots share."""

from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle

from envs.continual.perturb import check_fidelity, find_plan, parse_perturbation
from envs.damaged import robots
from envs.damaged.applier import Applier
from envs.damaged.course import Course, check_action
from envs.damaged.display import check_display, no_opengl
from envs.damaged.picture import draw

SENSES = {
    "cfrc_ext": "contact_forces",
    "cinert": "inertias",
    "cvel": "body_velocities",
    "qfrc_actuator": "actuator_forces",
}


class DamagedMujocoEnv(MujocoEnv, EzPickle):
    """What the damaged robots share; goes before Gymnasium's environment among the bases.

    Undamaged, it steps as Gymnasium's environment does, number for number.
    """

    robot: ClassVar[robots.Robot]

    def __init__(
        self,
        damage: Any = None,
        observe_damage: bool = False,
        horizon: int = 1000,
        renderer: str = "opengl",
        perturbation: Any = None,
        fidelity: str = "corrected",
        **kwargs: Any,
    ) -> None:
        check_fidelity(fidelity)
        if renderer not in ("opengl", "software"):
            raise ValueError(f"renderer='{renderer}' is unknown; use 'opengl' or 'software'.")
        if renderer == "software" and kwargs.get("render_mode") not in (None, "rgb_array"):
            raise ValueError(f"renderer='software' draws 'rgb_array' only, not render_mode='{kwargs['render_mode']}'.")
        check_display(kwargs.get("render_mode"))
        self.perturbation = parse_perturbation(perturbation, self.robot.anatomy.robot)
        self._fidelity = fidelity
        self._software = renderer == "software"
        self._course = Course(self.robot.anatomy, damage, horizon)
        self._observe_damage = observe_damage
        self._began = False
        super().__init__(**kwargs)
        given = {"damage": damage, "observe_damage": observe_damage, "horizon": horizon, "renderer": renderer}
        EzPickle.__init__(self, **given, perturbation=perturbation, fidelity=fidelity, **kwargs)
        layout, size = self._layout()
        self._channels = {sensor: layout[sensor] for sensor in self.robot.anatomy.parts("sensor") if sensor in layout}
        self._hidden = np.flatnonzero(self.perturbation.hidden(layout, size))
        by_joint = {int(i): joint for joint, numbers in self._applier.actuators.items() for i in numbers}
        self._gains = self.perturbation.gains(by_joint[i] for i in range(self.model.nu))
        self._course.check_sensors(self._channels)
        self._prepare()
        if observe_damage:
            space = self.observation_space
            assert isinstance(space, Box)
            size = space.shape[0] + self._course.flags.size
            self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)

    def _initialize_simulation(self) -> tuple[Any, Any]:
        self._applier = Applier(self.robot, self.fullpath, self.perturbation, self._fidelity)
        model = self._applier.model
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, self.width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, self.height)
        return model, mujoco.MjData(model)

    def set_damage(self, damage: Any) -> None:
        """Change the damage from the next step on; in this episode schedules count from now, in later ones from its start.

        ValueError as for `damage` of the constructor; the old damage then stays.
        """
        self._course.replace(damage, self._channels)
        self._prepare()
        if self._began:
            self._course.begin(self.np_random, now=True)
            self._apply()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        self._applier.apply((), self.data)
        obs, info = super().reset(seed=seed, options=options)
        self._began = True
        self._course.begin(self.np_random)
        if self._course.active:
            self._apply()
            mujoco.mj_forward(self.model, self.data)
            obs = self._get_obs()  # type: ignore[attr-defined]
        return self._observe(obs), info | {"damage": self._course.names}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        check_action(action)
        if self._course.changes_now():
            self._apply()
        if self.perturbation.actions:
            action = self._gains * action
        obs, reward, terminated, truncated, info = super().step(action)
        told: dict[str, Any] = {**info, "damage": self._course.names}
        return self._observe(obs), reward, terminated, truncated, told

    def render(self) -> Any:
        if self.render_mode is not None and self._software:
            return draw(self.model, self.data, self.width, self.height)
        try:
            return super().render()
        except Exception as error:
            raise no_opengl(error) from error

    def _prepare(self) -> None:
        for faults in self._course.damage.alternatives:
            if not any(fault.scheduled for fault in faults):
                self._applier.prepare(faults)

    def _apply(self) -> None:
        self._applier.apply(self._course.active, self.data)

    def _observe(self, obs: np.ndarray) -> np.ndarray:
        """What the robot senses of a true observation."""
        obs = self._course.observe(obs, self._channels, self._observe_damage)
        if self._hidden.size:
            obs = obs.copy()  # the course remembers this one
            obs[self._hidden] = 0.0
        return obs

    def _layout(self) -> tuple[dict[str, np.ndarray], int]:
        """Where each channel is in the observation, and how many numbers it has."""
        sizes: dict[str, int] = self.observation_structure  # type: ignore[attr-defined]
        plan, ids = find_plan(self.robot.anatomy.robot), self._applier.joint_ids
        joints = sorted(ids, key=lambda joint: int(self.model.jnt_qposadr[ids[joint]]))
        further = {SENSES[name]: size for name, size in sizes.items() if name in SENSES}
        size = sizes["qpos"] + sizes["qvel"] + sum(further.values())
        return plan.layout(joints, 1 if plan.planar else 4, further, whole=not sizes["skipped_qpos"]), size
