"""Brax tasks as Gymnasium environments."""

from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle

from envs.brax.damage import DamagedTask
from envs.brax.tasks import BraxTask, TaskState, make_task
from envs.damaged.course import check_action
from envs.window import Window


def box_spaces(task: BraxTask) -> tuple[spaces.Box, spaces.Box]:
    """Observation and action space of a task."""
    observation = spaces.Box(-np.inf, np.inf, (task.observation_size,), np.float32)
    return observation, spaces.Box(-1.0, 1.0, (task.action_size,), np.float32)


def frames_per_second(task: BraxTask) -> int:
    """Frame rate at which a video of every step plays in real time."""
    return max(1, round(1 / task.dt))


class BraxEnv(gymnasium.Env[np.ndarray, np.ndarray], EzPickle):
    """A Brax robot as a single Gymnasium environment.

    ## Description
    Seven robots under five kinds of physics. `physics="v1"` is `brax.v1`, on which Evolving Connectivity was
    published; the others are the pipelines of current Brax. Returns are not comparable between kinds of physics.
    Many environments side by side: use `envs.brax.vec_env.BraxVecEnv`, which steps them in one compiled call.

    The ant can be damaged under all physics, as `DamagedAnt-v0` can: limbs removed or shortened, joints locked or slack,
    actuators weakened, sensors dead, stuck or noisy; from the start or any step on, for a while, or drawn anew in each
    episode. `env.unwrapped.set_damage(damage)` or `vec_env.env_method("set_damage", damage)` changes it in the middle of an
    episode. Legs are named by where they are: front is +x, the direction that is rewarded, and left is +y.

    | Limb | What it is | Joint | Range |
    |---|---|---|---|
    | `..._leg` | the whole leg of `front_left`, `rear_left`, `rear_right`, `front_right` | | |
    | `..._thigh` | the segment that turns in the hip, with the foot when it is removed | `..._hip` | -30 to 30 degrees |
    | `..._foot` | the lower segment | `..._ankle` | 30 to 70 degrees |

    Presets: `front_left_short` and so on, the foot shortened to a quarter (from 0.566 to 0.141 m). The sensors are the
    joints, `torso` and, under v1, `contact_forces`. A shortened segment has less mass; v1 gives every body the same moment
    of inertia whatever its size, spring and positional physics the same mass as well. Removed limbs stay as joints that
    touch nothing and pull at nothing (under v1 exactly, else a millionth); they read zero. Locked joints are held exactly
    under generalized and mjx physics, and to within some five degrees under the others, whose constraints are soft.

    All robots but Reacher and Swimmer can be perturbed instead: another gravity or friction, heavier or lighter parts,
    disabled or inverted actions, masked observations. The tasks of continual learning are presets, such as
    `gymnasium.make("BraxHalfCheetah-v0", perturbation="hugefoot")`. Under v1, moments of inertia follow the masses; under the
    other physics the sizes, too. Damage and a perturbation together: `DamagedAnt-v0`.

    ## Action Space
    `Box(-1, 1, (A,), float32)`: joint torques in units of the actuators' strength; values outside are clipped. Those of
    removed, slack or locked joints have no effect, but cost as ever; those that a perturbation disables cost nothing.

    ## Observation Space
    `Box(-inf, inf, (D,), float32)`: joint angles and velocities, for Ant and Humanoid also contact forces or inertia.
    Nothing tells of damage, unless `observe_damage=True` appends a flag for each limb, joint and further sensor.

    | id | A | D (v1) | D (others) | seconds per step (v1 / others) | terminates (v1) |
    |---|---|---|---|---|---|
    | BraxHopper-v0 | 3 | 11 | 11 | 0.008 / 0.008 | torso below 0.7 or pitched more than 0.2 rad |
    | BraxWalker2d-v0 | 6 | 17 | 17 | 0.008 / 0.008 | torso outside 0.7..2.0 or pitched more than 1 rad |
    | BraxHalfCheetah-v0 | 6 | 18 | 17 | 0.05 / 0.05 | never |
    | BraxAnt-v0 | 8 | 87 | 27 | 0.05 / 0.05 | torso outside 0.2..1.0 |
    | BraxHumanoid-v0 | 17 | 240 | 244 | 0.015 / 0.015 | torso outside 0.8..2.1 |
    | BraxReacher-v0 | 2 | 11 | 11 | 0.02 / 0.02 | never |
    | BraxSwimmer-v0 | 2 | 8 | - | 0.04 / - | never; physics="v1" only |

    ## Rewards
    Brax's own: forward velocity plus an alive bonus minus a control cost for the walkers, nearness to the target for
    Reacher. The terms are in `info` under Brax's names; `info["damage"]` names the faults that were there in the step.

    ## Starting State
    The robot's rest pose with uniform noise on joint angles and velocities; the same seed gives the same start whatever the
    damage.

    ## Episode End
    `terminated` when the robot is unhealthy, or when the physics diverged (then the reward is 0, the observation zero
    and `info["diverged"]` True). `truncated` after 1000 steps (`max_episode_steps` of `gymnasium.make`).

    ## Arguments
    | argument | default | meaning |
    |---|---|---|
    | `task` | set by the id | "hopper", "walker2d", "halfcheetah", "ant", "humanoid", "reacher", "swimmer" |
    | `physics` | "v1" | "v1", "generalized", "spring", "positional", "mjx" |
    | `render_mode` | None | None, "rgb_array" or "human" (a window, extra `box2d`) |
    | `width`, `height` | 480, 384 | size of a frame in pixels |
    | `damage` | None | what is broken on the ant, and when; see `envs.damage` for all its forms |
    | `observe_damage` | False | append a flag for each part of the ant to the observation (1: broken now) |
    | `horizon` | 1000 | steps of an episode; schedules of damage beyond it are refused |
    | `reward` | "full" | "full", as above, or "progress": the forward velocity alone in m/s (not for Reacher) |
    | `perturbation` | None | what is different about the robot and its world; see `envs.continual.perturb` for all its forms |
    | `fidelity` | "corrected" | "corrected", or "original": the perturbations exactly as published for Brax v1 |

    ## Version History
    * v0: first version
    """

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 50}

    def __init__(
        self,
        task: str,
        physics: str = "v1",
        render_mode: str | None = None,
        width: int = 480,
        height: int = 384,
        damage: Any = None,
        observe_damage: bool = False,
        horizon: int = 1000,
        reward: str = "full",
        perturbation: Any = None,
        fidelity: str = "corrected",
    ) -> None:
        EzPickle.__init__(
            self, task, physics, render_mode, width, height, damage, observe_damage, horizon, reward, perturbation, fidelity
        )
        if render_mode not in (None, "rgb_array", "human"):
            raise ValueError(f"render_mode='{render_mode}' is not supported; use None, 'rgb_array' or 'human'.")
        self.task = make_task(task, physics, horizon, damage, observe_damage, reward, perturbation, fidelity)
        self.damage = self.task.damages[0] if isinstance(self.task, DamagedTask) else None
        self.observe_damage = observe_damage
        self._which: tuple[int, ...] = ()  # of the task's damages, once there are several
        self.metadata = {"render_modes": ["human", "rgb_array"], "render_fps": frames_per_second(self.task)}
        self.observation_space, self.action_space = box_spaces(self.task)
        self.render_mode = render_mode
        self.width, self.height = width, height
        self._key: jax.Array | None = None
        self._state: TaskState | None = None
        self._window: Window | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._key = jax.random.key(seed)
        elif self._key is None:
            self._key = jax.random.key(int(self.np_random.integers(2**31)))
        self._key, reset_key = jax.random.split(self._key)
        self._state = self.task.jit_reset(reset_key, *self._which)
        if self.render_mode == "human":
            self.render()
        return np.array(self._state.obs), self._damage_info()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self._state is None:
            raise gymnasium.error.ResetNeeded("Call reset before the first step.")
        check_action(action)
        self._state = self.task.jit_step(self._state, np.asarray(action, np.float32))
        obs, reward, terminated, metrics = jax.device_get(self._state[1:5])
        info: dict[str, Any] = {name: float(value) for name, value in metrics.items()}
        info["diverged"] = bool(np.isnan(reward))
        info |= self._damage_info()
        if self.render_mode == "human":
            self.render()
        return np.array(obs), 0.0 if info["diverged"] else float(reward), bool(terminated), False, info

    def set_damage(self, damage: Any) -> None:
        """Change the damage from the next step on; in this episode schedules count from now, in later ones from its start.
        New damage takes some seconds to compile.

        ValueError as for `damage` of the constructor; the old damage then stays.
        """
        task, which = self.task.with_damage(damage)
        if self._state is not None:
            self._state = task.jit_set_damage(self._state, which, self._key)
        self.task, self.damage, self._which = task, task.damages[which], (which,)

    def render(self) -> np.ndarray | None:
        if self.render_mode is None:
            gymnasium.logger.warn("render() does nothing without render_mode; make the environment with 'rgb_array'.")
            return None
        if self._state is None:
            raise gymnasium.error.ResetNeeded("Call reset before render.")
        from envs.brax.render import render

        frame = render(self.task, self._state, self.width, self.height)
        if self.render_mode == "rgb_array":
            return frame
        self._window = self._window or Window(f"Brax {self.task.name}")
        self._window.show(frame, self.metadata["render_fps"])
        return None

    def close(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None

    def _damage_info(self) -> dict[str, Any]:
        if self._state is None or not isinstance(self.task, DamagedTask):
            return {}
        alternative, active = jax.device_get((self._state.damage.alternative, self._state.damage.active))
        return {"damage": self.task.damage_names(alternative, active)}
