"""Gymnasium's MuJoCo robots with damage and perturbations."""

from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv

from envs.damaged import robots
from envs.damaged.base import DamagedMujocoEnv


class DamagedAnt(DamagedMujocoEnv, AntEnv):
    """
    ## Description
    Gymnasium's Ant-v5 with damage: limbs removed or shortened, joints locked or slack, actuators weakened, sensors dead,
    stuck or noisy, from the start of an episode or in the course of it. Undamaged it is Ant-v5, number for number.

    Legs are named by where they are at the start: front is +x, the direction that is rewarded, and left is +y. (The bodies
    of the model are named otherwise: its "right_back_leg" is at the front right. Of these names, those that contradict no
    name by place are known as aliases.)

    Parts, for each of `front_left`, `rear_left`, `rear_right`, `front_right`:

    | Limb | What it is | Joint | Range |
    |---|---|---|---|
    | `..._leg` | the whole leg | | |
    | `..._thigh` | the middle segment, with the foot | `..._hip` | -30 to 30 degrees |
    | `..._foot` | the lower segment | `..._ankle` | 30 to 70 degrees |

    Presets: `front_left_short` and so on, the foot shortened to a quarter (the damage of Najarro & Risi, NeurIPS 2020,
    arXiv 2007.02686, is `front_right_short`, and `front_left_short` held out).

    ## Action Space
    `Box(-1, 1, (8,), float32)`, the torques of Ant-v5. Those of removed or slack
    joints have no effect, but cost as ever.

    ## Observation Space
    `Box(-inf, inf, (105,), float64)`, that of Ant-v5. A removed limb's joints read zero. Sensors are the joints (angle
    and velocity), `torso` (position, orientation and velocities of the root) and `contact_forces`. Nothing tells of the
    damage, unless `observe_damage=True` appends 22 flags: 12 limbs, 8 joints and the 2 sensors.

    ## Rewards
    Those of Ant-v5. `info["damage"]` names the faults that were there in the step.

    ## Starting State
    That of Ant-v5; the same seed gives the same start whatever the damage.

    ## Episode End
    That of Ant-v5: terminated when the torso leaves 0.2 to 1 m, truncated after 1000 steps.

    ## Arguments
    ```python
    import gymnasium, envs
    env = gymnasium.make("DamagedAnt-v0", damage="front_left_leg")
    env = gymnasium.make("DamagedAnt-v0", damage="weaken:front_left_ankle=0.3@100..300+noisy:torso=0.05")
    env = gymnasium.make("DamagedAnt-v0", damage={"none": 0.5, "front_left_short": 0.25, "front_right_short": 0.25})
    env = gymnasium.make("DamagedAnt-v0", perturbation="moon", damage="front_left_foot")
    ```

    | Parameter | Type | Default | Description |
    |---|---|---|---|
    | `damage` | str, dict, list or None | `None` | What is broken, and when; see `envs.damage` for all its forms |
    | `observe_damage` | bool | `False` | Append a flag for each part to the observation (1: broken now) |
    | `horizon` | int | `1000` | Steps of an episode; schedules beyond it are refused |
    | `renderer` | str | `"opengl"` | `"software"` draws `rgb_array` frames on machines without OpenGL |
    | `perturbation` | str, dict or None | `None` | What is different about robot and world; see `envs.continual.perturb` |
    | `fidelity` | str | `"corrected"` | `"original"`: perturbations as published, as near as MuJoCo comes to them |

    All arguments of `Ant-v5` are taken too. `env.unwrapped.set_damage(damage)`, or `vec_env.env_method("set_damage",
    damage)`, changes the damage in the middle of an episode. A perturbation is for the life of the environment, and
    combines with damage; actions that it disables cost nothing.

    ## Version History
    * v0: initial version
    """

    robot = robots.ANT


class DamagedHalfCheetah(DamagedMujocoEnv, HalfCheetahEnv):
    """
    ## Description
    Gymnasium's HalfCheetah-v5 with damage; undamaged it is HalfCheetah-v5, number for number. The total
    mass falls by what is taken away: the model's rescaling to 14 kg is switched off for damaged bodies.

    Limbs: `back_thigh`, `back_shin`, `back_foot` and the same of `front`; each goes with what hangs on it. Joints:
    `back_thigh_joint` and so on, at the upper end of the segment.

    ## Action Space
    `Box(-1, 1, (6,), float32)`, the torques of HalfCheetah-v5. Those of removed or slack
    joints have no effect, but cost as ever.

    ## Observation Space
    `Box(-inf, inf, (17,), float64)`, that of HalfCheetah-v5. A removed limb's joints read zero. Sensors
    are the joints (angle and velocity), `torso` (all of the root). Nothing tells of the damage, unless
    `observe_damage=True` appends 13 flags, one for each limb, joint and sensor.

    ## Rewards
    Those of HalfCheetah-v5. `info["damage"]` names the faults that were there in the step.

    ## Starting State
    That of HalfCheetah-v5; the same seed gives the same start whatever the damage.

    ## Episode End
    Truncated after 1000 steps; never terminated.

    ## Arguments
    ```python
    import gymnasium, envs
    env = gymnasium.make("DamagedHalfCheetah-v0", damage="shorten:back_foot=0.5")
    env = gymnasium.make("DamagedHalfCheetah-v0", perturbation="hugefoot_rainfall")
    ```

    | Parameter | Type | Default | Description |
    |---|---|---|---|
    | `damage` | str, dict, list or None | `None` | What is broken, and when; see `envs.damage` for all its forms |
    | `observe_damage` | bool | `False` | Append a flag for each part to the observation (1: broken now) |
    | `horizon` | int | `1000` | Steps of an episode; schedules beyond it are refused |
    | `renderer` | str | `"opengl"` | `"software"` draws `rgb_array` frames on machines without OpenGL |
    | `perturbation` | str, dict or None | `None` | What is different about robot and world; see `envs.continual.perturb` |
    | `fidelity` | str | `"corrected"` | `"original"`: perturbations as published, as near as MuJoCo comes to them |

    All arguments of `HalfCheetah-v5` are taken too. `env.unwrapped.set_damage(damage)`, or `vec_env.env_method("set_damage",
    damage)`, changes the damage in the middle of an episode. A perturbation is for the life of the environment, and
    combines with damage; actions that it disables cost nothing.

    ## Version History
    * v0: initial version
    """

    robot = robots.HALF_CHEETAH


class DamagedHopper(DamagedMujocoEnv, HopperEnv):
    """
    ## Description
    Gymnasium's Hopper-v5 with damage; undamaged it is Hopper-v5, number for number.

    Limbs: `thigh`, `leg`, `foot`; each goes with what hangs on it. Joints: `thigh_joint`, `leg_joint`, `foot_joint`.

    ## Action Space
    `Box(-1, 1, (3,), float32)`, the torques of Hopper-v5. Those of removed or slack
    joints have no effect, but cost as ever.

    ## Observation Space
    `Box(-inf, inf, (11,), float64)`, that of Hopper-v5. A removed limb's joints read zero. Sensors
    are the joints (angle and velocity), `torso` (all of the root). Nothing tells of the damage, unless
    `observe_damage=True` appends 7 flags, one for each limb, joint and sensor.

    ## Rewards
    Those of Hopper-v5. `info["damage"]` names the faults that were there in the step.

    ## Starting State
    That of Hopper-v5; the same seed gives the same start whatever the damage.

    ## Episode End
    That of Hopper-v5: terminated when the robot is unhealthy, truncated after 1000 steps.

    ## Arguments
    ```python
    import gymnasium, envs
    env = gymnasium.make("DamagedHopper-v0", damage="weaken:foot_joint=0.5")
    ```

    | Parameter | Type | Default | Description |
    |---|---|---|---|
    | `damage` | str, dict, list or None | `None` | What is broken, and when; see `envs.damage` for all its forms |
    | `observe_damage` | bool | `False` | Append a flag for each part to the observation (1: broken now) |
    | `horizon` | int | `1000` | Steps of an episode; schedules beyond it are refused |
    | `renderer` | str | `"opengl"` | `"software"` draws `rgb_array` frames on machines without OpenGL |
    | `perturbation` | str, dict or None | `None` | What is different about robot and world; see `envs.continual.perturb` |
    | `fidelity` | str | `"corrected"` | `"original"`: perturbations as published, as near as MuJoCo comes to them |

    All arguments of `Hopper-v5` are taken too. `env.unwrapped.set_damage(damage)`, or `vec_env.env_method("set_damage",
    damage)`, changes the damage in the middle of an episode. A perturbation is for the life of the environment, and
    combines with damage; actions that it disables cost nothing.

    ## Version History
    * v0: initial version
    """

    robot = robots.HOPPER


class DamagedWalker2d(DamagedMujocoEnv, Walker2dEnv):
    """
    ## Description
    Gymnasium's Walker2d-v5 with damage; undamaged it is Walker2d-v5, number for number.

    Limbs: `right_thigh`, `right_leg`, `right_foot` and the same of `left`; each goes with what hangs on it. Joints:
    `right_thigh_joint` and so on.

    ## Action Space
    `Box(-1, 1, (6,), float32)`, the torques of Walker2d-v5. Those of removed or slack
    joints have no effect, but cost as ever.

    ## Observation Space
    `Box(-inf, inf, (17,), float64)`, that of Walker2d-v5. A removed limb's joints read zero. Sensors
    are the joints (angle and velocity), `torso` (all of the root). Nothing tells of the damage, unless
    `observe_damage=True` appends 13 flags, one for each limb, joint and sensor.

    ## Rewards
    Those of Walker2d-v5. `info["damage"]` names the faults that were there in the step.

    ## Starting State
    That of Walker2d-v5; the same seed gives the same start whatever the damage.

    ## Episode End
    That of Walker2d-v5: terminated when the robot is unhealthy, truncated after 1000 steps.

    ## Arguments
    ```python
    import gymnasium, envs
    env = gymnasium.make("DamagedWalker2d-v0", damage="lock:left_leg_joint@200")
    ```

    | Parameter | Type | Default | Description |
    |---|---|---|---|
    | `damage` | str, dict, list or None | `None` | What is broken, and when; see `envs.damage` for all its forms |
    | `observe_damage` | bool | `False` | Append a flag for each part to the observation (1: broken now) |
    | `horizon` | int | `1000` | Steps of an episode; schedules beyond it are refused |
    | `renderer` | str | `"opengl"` | `"software"` draws `rgb_array` frames on machines without OpenGL |
    | `perturbation` | str, dict or None | `None` | What is different about robot and world; see `envs.continual.perturb` |
    | `fidelity` | str | `"corrected"` | `"original"`: perturbations as published, as near as MuJoCo comes to them |

    All arguments of `Walker2d-v5` are taken too. `env.unwrapped.set_damage(damage)`, or `vec_env.env_method("set_damage",
    damage)`, changes the damage in the middle of an episode. A perturbation is for the life of the environment, and
    combines with damage; actions that it disables cost nothing.

    ## Version History
    * v0: initial version
    """

    robot = robots.WALKER2D


class DamagedHumanoid(DamagedMujocoEnv, HumanoidEnv):
    """
    ## Description
    Gymnasium's Humanoid-v5 with damage; undamaged it is Humanoid-v5, number for number.

    Limbs: `right_thigh`, `right_shin`, `right_foot` (a sphere: shortening shrinks its radius), `right_upper_arm`,
    `right_lower_arm` and the same of `left`; each goes with what hangs on it. Joints: `abdomen_x`, `abdomen_y`, `abdomen_z`,
    `right_hip_x`, `right_hip_y`, `right_hip_z`, `right_knee`, `right_shoulder1`, `right_shoulder2`, `right_elbow` and the same
    of `left`.

    ## Action Space
    `Box(-0.4, 0.4, (17,), float32)`, the torques of Humanoid-v5. Those of removed or slack
    joints have no effect, but cost as ever.

    ## Observation Space
    `Box(-inf, inf, (348,), float64)`, that of Humanoid-v5. A removed limb's joints read zero. Sensors
    are the joints (angle and velocity), `torso` (all of the root),
    `inertias`, `body_velocities`, `actuator_forces` and `contact_forces`. Nothing tells of the damage, unless
    `observe_damage=True` appends 32 flags, one for each limb, joint and sensor.

    ## Rewards
    Those of Humanoid-v5. `info["damage"]` names the faults that were there in the step.

    ## Starting State
    That of Humanoid-v5; the same seed gives the same start whatever the damage.

    ## Episode End
    That of Humanoid-v5: terminated when the torso leaves 1 to 2 m, truncated after 1000 steps.

    ## Arguments
    ```python
    import gymnasium, envs
    env = gymnasium.make("DamagedHumanoid-v0", damage="slack:right_knee@100")
    ```

    | Parameter | Type | Default | Description |
    |---|---|---|---|
    | `damage` | str, dict, list or None | `None` | What is broken, and when; see `envs.damage` for all its forms |
    | `observe_damage` | bool | `False` | Append a flag for each part to the observation (1: broken now) |
    | `horizon` | int | `1000` | Steps of an episode; schedules beyond it are refused |
    | `renderer` | str | `"opengl"` | `"software"` draws `rgb_array` frames on machines without OpenGL |
    | `perturbation` | str, dict or None | `None` | What is different about robot and world; see `envs.continual.perturb` |
    | `fidelity` | str | `"corrected"` | `"original"`: perturbations as published, as near as MuJoCo comes to them |

    All arguments of `Humanoid-v5` are taken too. `env.unwrapped.set_damage(damage)`, or `vec_env.env_method("set_damage",
    damage)`, changes the damage in the middle of an episode. A perturbation is for the life of the environment, and
    combines with damage; actions that it disables cost nothing.

    ## Version History
    * v0: initial version
    """

    robot = robots.HUMANOID
