"""PyBullet's ant with damage."""

import copy
import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle

from envs.damage import Damage, Fault, Structure, parse_damage, structure_of
from envs.damaged.bullet_model import ANATOMY, JOINTS, model_file
from envs.damaged.course import Course, check_action
from envs.damaged.display import check_display


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Bullet's C code prints when it is imported and started off the terminal."""
    if os.name != "posix":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.fflush(None)
    saved = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        libc.fflush(None)
        for number, copied in zip((1, 2), saved, strict=True):
            os.dup2(copied, number)
            os.close(copied)
        os.close(nowhere)


try:
    with _quiet():
        import pybullet
        import pybullet_data
        from pybullet_envs_gymnasium.gym_locomotion_envs import WalkerBaseBulletEnv
        from pybullet_envs_gymnasium.robot_locomotors import Ant
        from pybullet_utils.bullet_client import BulletClient
except ImportError as error:
    raise DependencyNotInstalled('PyBullet is not installed; run `pip install "spikegym[bullet]"`.') from error

CHANNELS = {joint: np.array([8 + 2 * i, 9 + 2 * i]) for i, joint in enumerate(ANATOMY.joints)}
CHANNELS |= {"torso": np.arange(8), "contacts": np.arange(24, 28)}
"""Where each sensor is in the observation; the contacts are in the order of the legs."""

LOCK_TORQUE = 1e5  # N m; 400 times what a motor of the ant can do


class DamagedAntRobot(Ant):
    """The ant of pybullet_envs_gymnasium with limbs shortened or removed and joints weak or locked."""

    def __init__(self, structure: Structure) -> None:
        super().__init__()
        self.structure = structure
        self.gains = np.ones(len(JOINTS))
        self._held: set[str] = set()
        gone = {part for fault in structure if fault.kind == "remove" for part in ANATOMY.limbs[fault.part]}
        self._gone = [joint for joint in ANATOMY.joints if joint in gone]

    def reset(self, bullet_client: Any) -> np.ndarray:
        if self.doneLoading:
            # The environment adds the floor to the parts once it has first been reset. Counted among them in the first
            # observation of later episodes, it would make these differ from the first one.
            self.parts.pop("floor", None)
            return super().reset(bullet_client)
        with model_file(Path(pybullet_data.getDataPath()) / "mjcf" / "ant.xml", self.structure) as path:
            self.model_xml = str(path)
            return super().reset(bullet_client)

    def robot_specific_reset(self, bullet_client: Any) -> None:
        super().robot_specific_reset(bullet_client)
        self._held = set()
        for name in self._gone:  # in the middle of their range no limit pushes them, and being at an end costs nothing
            joint = self.jdict[JOINTS[name]]
            joint.reset_current_position(joint.get_mid_point(), 0.0)

    def apply_action(self, a: np.ndarray) -> None:
        super().apply_action(np.clip(a, -1.0, 1.0) * self.gains)

    def take(self, faults: Iterable[Fault]) -> None:
        """Make exactly these faults true of the joints."""
        self.gains[:] = 1.0
        for name in self._gone:
            self.gains[ANATOMY.joints.index(name)] = 0.0
        locked = set()
        for fault in faults:
            if fault.kind == "lock":
                locked.add(fault.part)
            elif fault.kind in ("weaken", "slack"):
                self.gains[ANATOMY.joints.index(fault.part)] = fault.value or 0.0
        for name in locked - self._held:
            self._lock(self.jdict[JOINTS[name]])
        for name in self._held - locked:
            self.jdict[JOINTS[name]].disable_motor()
        self._held = locked

    def _lock(self, joint: Any) -> None:
        """Hold a joint at its angle, or at the end of its range when it is beyond (ankles start there)."""
        self._p.setJointMotorControl2(
            joint.bodies[joint.bodyIndex],
            joint.jointIndex,
            pybullet.POSITION_CONTROL,
            targetPosition=float(np.clip(joint.get_position(), joint.lowerLimit, joint.upperLimit)),
            positionGain=0.2,
            velocityGain=1.0,
            force=LOCK_TORQUE,
        )


class DamagedAntBullet(WalkerBaseBulletEnv, EzPickle):
    """
    ## Description
    PyBullet's ant, `AntBulletEnv-v0` of pybullet_envs_gymnasium, with damage: limbs removed or shortened, joints locked or
    slack, actuators weakened, sensors dead, stuck or noisy. It is the task of Najarro & Risi (NeurIPS 2020,
    arXiv 2007.02686): they train on the standard ant and `front_right_short`, and hold `front_left_short` out. Undamaged, an
    episode is the first one of a new `AntBulletEnv-v0`, number for number. (In later ones that environment counts the floor
    among the parts of the robot when it measures the first distance to the target; here, all episodes are alike.)

    Legs are named by where they are at the start: front is +x, the direction that is rewarded, and left is +y. (The model
    file names them otherwise: its "right_back_foot" is at the front right, its "front_right_foot" at the rear left.)

    Parts, for each of `front_left`, `rear_left`, `rear_right`, `front_right`:

    | Limb | What it is | Joint | Range |
    |---|---|---|---|
    | `..._leg` | the whole leg | | |
    | `..._thigh` | the middle segment, with the foot | `..._hip` | -40 to 40 degrees |
    | `..._foot` | the lower segment | `..._ankle` | 30 to 100 degrees |

    Presets: `front_left_short` and so on, the foot shortened to a quarter (from 0.566 to 0.141 m).

    Limbs are changed in the model that is loaded, so for whole episodes; a removed or shortened limb that comes or goes at
    some step is refused. All other damage may have any schedule. Removed limbs stay as joints without mass and shape, which
    do not move. A locked joint is held to within half a degree.

    ## Action Space
    `Box(-1, 1, (8,), float32)`: torques of hip and ankle of each leg, in the order above; 1 is 250 N m. Those of removed,
    slack or locked joints have no effect, but cost as ever.

    ## Observation Space
    `Box(-inf, inf, (28,), float32)`, clipped to -5 to 5 before sensors are damaged:

    | Index | What it is | Sensor |
    |---|---|---|
    | 0 | height above that at the start (m) | `torso` |
    | 1, 2 | sine and cosine of the angle to the target | `torso` |
    | 3, 4, 5 | 0.3 times the velocity, turned by the yaw (m/s) | `torso` |
    | 6, 7 | roll and pitch (rad) | `torso` |
    | 8 to 23 | angle (-1 to 1 is its range) and 0.1 times the velocity (rad/s) of each joint | the joint |
    | 24 to 27 | whether each foot touched the ground in the step before | `contacts` |

    A removed limb's joints read zero. Nothing tells of the damage, unless `observe_damage=True` appends 22 flags: 12 limbs,
    8 joints and the 2 sensors.

    ## Rewards
    Those of `AntBulletEnv-v0`: +1 while the torso is above 0.26 m and -1 otherwise, plus the approach to a point 1 km ahead
    (m) divided by 0.0165 s, minus 2 times the mean of |action times observed velocity|, 0.1 times the mean of the squared
    action and 0.1 for each joint at an end of its range. `info["damage"]` names the faults that were there in the step.

    ## Starting State
    The torso at a height of 0.75 m, joint angles drawn uniformly from -0.1 to 0.1 rad (ankles are thus out of their range,
    and spring into it); the same seed gives the same start whatever the damage. Removed joints are in the middle of their
    range.

    ## Episode End
    Terminated when the torso is at or below 0.26 m; truncated after 1000 steps of 0.0165 s.

    ## Arguments
    ```python
    import gymnasium, envs
    env = gymnasium.make("DamagedAntBullet-v0", damage={"none": 0.5, "front_right_short": 0.5})
    env = gymnasium.make("DamagedAntBullet-v0", damage="front_left_leg+weaken:rear_left_ankle=0.3@100..300")
    ```

    | Parameter | Type | Default | Description |
    |---|---|---|---|
    | `damage` | str, dict, list or None | `None` | What is broken, and when; see `envs.damage` for all its forms |
    | `observe_damage` | bool | `False` | Append a flag for each part to the observation (1: broken now) |
    | `horizon` | int | `1000` | Steps of an episode; schedules beyond it are refused |
    | `render_mode` | str or None | `None` | `"rgb_array"` (320 x 240) or `"human"` |

    `env.unwrapped.set_damage(damage)`, or `vec_env.env_method("set_damage", damage)`, changes the damage in the middle of
    an episode; with limbs to be changed, at the next reset.

    ## Version History
    * v0: initial version
    """

    def __init__(
        self, damage: Any = None, observe_damage: bool = False, horizon: int = 1000, render_mode: str | None = None
    ) -> None:
        check_display(render_mode)
        self._course = Course(ANATOMY, damage, horizon)
        _check_schedules(self._course.damage)
        self._observe_damage = observe_damage
        self._began = False
        super().__init__(DamagedAntRobot(()), render_mode=render_mode)
        EzPickle.__init__(self, damage, observe_damage, horizon, render_mode)
        if observe_damage:
            space = self.observation_space
            assert isinstance(space, Box)
            size = space.shape[0] + self._course.flags.size
            self.observation_space = Box(-np.inf, np.inf, (size,), np.float32)

    def set_damage(self, damage: Any) -> None:
        """Change the damage. From the next step on if every alternative has the body of the running episode; in this
        episode schedules then count from now, in later ones from its start. Otherwise (a limb is to be shortened, removed or
        mended) all of it changes at the next reset.

        ValueError as for `damage` of the constructor; the old damage then stays.
        """
        parsed = parse_damage(damage, ANATOMY, self._course.horizon)
        _check_schedules(parsed)
        self._course.replace(parsed, CHANNELS)
        if self._began and all(structure_of(faults) == self.robot.structure for faults in parsed.alternatives):
            self._course.begin(self.np_random, now=True)
            self.robot.take(self._course.active)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        gymnasium.Env.reset(self, seed=seed)
        # The body must be known before the robot is reset, but the same seed gives the same start whatever the damage: the
        # robot gets a copy of the generator, and the damage is drawn from behind the angles that it will draw.
        start = copy.deepcopy(self.np_random)
        self.np_random.uniform(size=len(JOINTS))
        self._course.begin(self.np_random)
        self._build(structure_of(self._course.active))
        self.robot.np_random = start
        if self.physicsClientId < 0:
            self._connect()
        obs, info = super().reset()
        self._began = True
        self.robot.take(self._course.active)
        return self._observe(obs), info | {"damage": self._course.names}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        check_action(action)
        if np.shape(action) != self.action_space.shape:
            raise ValueError(f"The action must have the shape {self.action_space.shape}, but has {np.shape(action)}.")
        if self._course.changes_now():
            self.robot.take(self._course.active)
        obs, reward, terminated, truncated, info = super().step(action)
        if self.render_mode == "human":
            self.render()
        return self._observe(obs), float(reward), terminated, truncated, info | {"damage": self._course.names}

    def camera_adjust(self) -> None:
        if self.render_mode == "human":  # the camera is the window's; pictures are taken by one of their own
            super().camera_adjust()

    def _connect(self) -> None:
        """Start a simulation of this environment's own. Left to itself, pybullet_envs_gymnasium joins any simulation that
        another process shares on this machine, and all environments then reset and step that one."""
        window = self.render_mode == "human"
        with nullcontext() if window else _quiet():
            self._p = BulletClient(pybullet.GUI if window else pybullet.DIRECT)
            self._p.setPhysicsEngineParameter(deterministicOverlappingPairs=1)
            self._p.configureDebugVisualizer(pybullet.COV_ENABLE_GUI, 0)
        self.physicsClientId = self._p._client
        self.ownsPhysicsClient = True

    def _build(self, structure: Structure) -> None:
        """Have a robot of this body in the simulation. Emptying and refilling it takes milliseconds and, other than taking
        out the old robot alone, does not leak memory."""
        if structure == self.robot.structure:
            return
        self.robot = DamagedAntRobot(structure)
        if self.physicsClientId >= 0:
            self._p.resetSimulation()
            self._p.setPhysicsEngineParameter(deterministicOverlappingPairs=1)
        self.scene = None
        self.stateId = -1

    def _observe(self, obs: np.ndarray) -> np.ndarray:
        return self._course.observe(obs, CHANNELS, self._observe_damage).astype(np.float32)


def _check_schedules(damage: Damage) -> None:
    """ValueError when a limb would change in the course of an episode."""
    for faults in damage.alternatives:
        for fault in faults:
            if fault.kind in ("shorten", "remove") and fault.scheduled:
                raise ValueError(
                    f"'{fault}': in Bullet limbs are shortened or removed for a whole episode. Write '{fault.name}', or use "
                    f"DamagedAnt-v0, where they may change at any step."
                )
