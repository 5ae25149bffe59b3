"""What the damaged MuJoCo robots share."""

from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle

from envs.damaged import robots
from envs.damaged.applier import Applier
from envs.damaged.course import Course, check_action
from envs.damaged.display import check_display
from envs.damaged.picture import draw

SENSES = {
    "contact_forces": "cfrc_ext",
    "inertias": "cinert",
    "body_velocities": "cvel",
    "actuator_forces": "qfrc_actuator",
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
        **kwargs: Any,
    ) -> None:
        if renderer not in ("opengl", "software"):
            raise ValueError(f"renderer='{renderer}' is unknown; use 'opengl' or 'software'.")
        if renderer == "software" and kwargs.get("render_mode") not in (None, "rgb_array"):
            raise ValueError(f"renderer='software' draws 'rgb_array' only, not render_mode='{kwargs['render_mode']}'.")
        check_display(kwargs.get("render_mode"))
        self._software = renderer == "software"
        self._course = Course(self.robot.anatomy, damage, horizon)
        self._observe_damage = observe_damage
        self._began = False
        super().__init__(**kwargs)
        EzPickle.__init__(self, damage=damage, observe_damage=observe_damage, horizon=horizon, renderer=renderer, **kwargs)
        self._channels = self._find_channels()
        self._course.check_sensors(self._channels)
        self._prepare()
        if observe_damage:
            space = self.observation_space
            assert isinstance(space, Box)
            size = space.shape[0] + self._course.flags.size
            self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)

    def _initialize_simulation(self) -> tuple[Any, Any]:
        self._applier = Applier(self.robot, self.fullpath)
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
        return self._course.observe(obs, self._channels, self._observe_damage), info | {"damage": self._course.names}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        check_action(action)
        if self._course.changes_now():
            self._apply()
        obs, reward, terminated, truncated, info = super().step(action)
        told: dict[str, Any] = {**info, "damage": self._course.names}
        return self._course.observe(obs, self._channels, self._observe_damage), reward, terminated, truncated, told

    def render(self) -> Any:
        if self.render_mode is not None and self._software:
            return draw(self.model, self.data, self.width, self.height)
        try:
            return super().render()
        except Exception as error:
            raise RuntimeError(
                f"MuJoCo could not draw with OpenGL here ({type(error).__name__}: {error}). Set the environment variable "
                "MUJOCO_GL to 'egl' (GPU) or 'osmesa' (needs libosmesa) before Python starts, or make the environment with "
                "renderer='software'."
            ) from error

    def _prepare(self) -> None:
        for faults in self._course.damage.alternatives:
            if not any(fault.scheduled for fault in faults):
                self._applier.prepare(faults)

    def _apply(self) -> None:
        self._applier.apply(self._course.active, self.data)

    def _find_channels(self) -> dict[str, np.ndarray]:
        """Where each sensor is in the observation."""
        sizes: dict[str, int] = self.observation_structure  # type: ignore[attr-defined]
        skipped, qvel = sizes["skipped_qpos"], sizes["qpos"]
        joints = self.robot.anatomy.joints
        channels = {}
        for joint in joints:
            i = self._applier.joint_ids[joint]
            channels[joint] = np.array([self.model.jnt_qposadr[i] - skipped, qvel + self.model.jnt_dofadr[i]])
        used = np.concatenate(list(channels.values()))
        channels["torso"] = np.setdiff1d(np.arange(qvel + sizes["qvel"]), used)
        start = qvel + sizes["qvel"]
        for name, size in list(sizes.items())[3:]:
            for sensor, sense in SENSES.items():
                if sense == name and size:
                    channels[sensor] = np.arange(start, start + size)
            start += size
        return channels
