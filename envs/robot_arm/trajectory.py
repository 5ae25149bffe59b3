"""RobotTrajectory-v0: move a planar arm so that its tip follows a moving target."""

import math
from collections.abc import Mapping
from inspect import signature
from math import copysign, cos, dist, sin
from struct import Struct
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy import empty

from envs.robot_arm import checks
from envs.robot_arm.controllers import oracle
from envs.robot_arm.drawing import Painter
from envs.robot_arm.generator import Trajectories, make_generator
from envs.robot_arm.kinematics import LINKS
from envs.robot_arm.options import JOINT_LIMIT, checked, given_path, given_start
from envs.robot_arm.rewards import REWARDS
from envs.robot_arm.views import Point, full_space, make_view
from envs.window import Window

VELOCITY_MARGIN = 0.95  # the drawn movements use this part of omega_max, so that a late arm can catch up
SUCCESS_DISTANCE = 0.02  # mean distance of a successful episode
DRAWN_AHEAD = 8  # paths drawn at once when episodes follow each other without a seed: half the time per path
FLOAT32 = np.dtype(np.float32)
PACK = Struct("12f").pack_into  # into a fresh array: half the time of np.array(list of floats)


class RobotTrajectoryEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """Two joints, one pen, and a path drawn by someone else.

    ## Description
    A planar arm with two links is moved by its joint velocities. A target runs along a smooth random path, drawn anew
    in every episode by sums of sines in the joints; the tip has to be where the target is, at every step.

    The paths are those of the one-shot arm movements of e-prop (Bellec, Scherr, et al. 2019, arXiv:1901.09049; Scherr,
    Stoeckl, Maass 2020, bioRxiv 2020.06.17.156513), with joint angles kept below 0.9 pi/2, clear of the singularities
    of the inverse kinematics. The control task around them, its rewards and its defaults are this suite's own, and so
    are its reference scores.

    With the default observation the task needs no memory: inverse kinematics of the observed target solve it. Memory
    is needed with `preview=-1` (the target is shown a step late), `obs_mode="target"` (the arm is hidden) and
    `obs_mode="clock"` (nothing but time is shown; use it with `fixed_trajectory_seed`).

    | controller (mean return over seeds 0..999) | return |
    |---|---|
    | `envs.robot_arm.oracle`, `envs.robot_arm.inverse_kinematics` | 250.0 |
    | `inverse_kinematics(env, delay=1)` | 240.8 |
    | zero action | 12.4 |

    ## Action Space
    `Box(-1, 1, (2,), float32)`: velocities of the two joints in units of `omega_max`; values outside are clipped. The
    joints move by `duration / horizon * omega_max * action` and stop at +-(pi/2 + 0.05) rad. NaN and infinity are
    refused with a `ValueError`.

    ## Observation Space
    `obs_mode="full"`: `Box((12 + 2 * preview,), float32)`, with R the length of the arm

    | index | observation | range |
    |---|---|---|
    | 0, 1 | cosine and sine of joint 0, counted from the x axis | [-1, 1] |
    | 2, 3 | cosine and sine of joint 1, counted from a right angle at the elbow | [-1, 1] |
    | 4, 5 | last action, clipped | [-1, 1] |
    | 6, 7 | tip (x, y) | [-R, R] |
    | 8, 9 | target to be reached with the next step; with `preview=-1` the one before it | [-R, R] |
    | 10, 11 | that target relative to the tip | [-2R, 2R] |
    | 12.. | the `preview` targets after it, relative to the tip | [-2R, 2R] |
    | last | part of the episode that has passed, if `phase` | [0, 1] |

    `obs_mode="target"`: the target to be reached with the next step and the phase, 3 values.
    `obs_mode="clock"`: which of `n_clock` equal parts of the episode it is (one-hot) and the phase, `n_clock + 1` values.
    Beyond the end of the path the last target is repeated.

    ## Rewards
    With d the distance between tip and target after the step, `reward_type` "gaussian" gives exp(-(d / sigma)^2), in
    (0, 1]; "neg_dist" gives -d; "neg_sq" gives -d^2. From each, `action_cost * |a|^2` and `action_rate_cost * |a -
    previous a|^2` are subtracted; both are 0 by default. `info` holds `distance`, `squared_error`, `tip` and `target`
    (the one just compared with; after `reset` the first) and, at the end of an episode, `mean_distance` and
    `is_success`: all steps were made and the mean distance is below 0.02.

    ## Starting State
    Rest, (0, 0): the first link along the x axis, the second upright; with `init_noise` each joint is off by a uniform
    number in +-`init_noise`. `reset(options=...)` takes `trajectory_seed` (the path of that seed), `trajectory` (joint
    velocities in rad/s, (horizon, 2)), `static` (True: the path of the previous episode again) and `q0` (joint angles
    to start from, whatever the noise).

    ## Episode End
    Truncated after `horizon` steps. Terminated when d exceeds `terminate_distance`, if that is given.

    ## Arguments
    | argument | default | meaning |
    |---|---|---|
    | `horizon` | 250 | steps of an episode |
    | `duration` | 5.0 | seconds of an episode |
    | `omega_max` | 5.0 | joint velocity in rad/s at action 1; the paths need at most 0.95 of it |
    | `n_sines` | 5 | sines per joint |
    | `period_range` | (0.3, 1.0) | shortest and longest period in units of duration / (2 pi) |
    | `amp0` | None | largest amplitude of a sine of joint 0 in rad/s; None is 15 / duration |
    | `pp1` | None | peak-to-peak velocity of a sine of joint 1 in rad/s; None is 10 / duration |
    | `phi_max` | 0.9 pi/2 | largest joint angle of the paths in rad, at most pi/2 |
    | `link_lengths` | (0.5, 0.5) | lengths of the links |
    | `obs_mode` | "full" | "full", "target" or "clock" |
    | `preview` | 0 | targets shown ahead in "full"; -1 shows the previous target in place of the next |
    | `phase` | False | append the phase in "full" |
    | `n_clock` | 5 | parts of the episode in "clock" |
    | `reward_type` | "gaussian" | "gaussian", "neg_dist" or "neg_sq" |
    | `sigma` | 0.1 | width of "gaussian" |
    | `action_cost` | 0.0 | cost of large actions |
    | `action_rate_cost` | 0.0 | cost of changing actions |
    | `terminate_distance` | None | distance that ends the episode |
    | `fixed_trajectory_seed` | None | seed of one path for all episodes |
    | `init_noise` | 0.0 | half-width of the noise on the starting angles in rad |
    | `control` | "velocity" | "velocity" |
    | `oracle_info` | False | put the oracle's next action into `info["oracle_action"]`, for imitation |
    | `render_mode` | None | None, "rgb_array" or "human" |

    ## Version History
    * v0: first version
    """

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 50}

    def __init__(
        self,
        horizon: int = 250,
        duration: float = 5.0,
        omega_max: float = 5.0,
        n_sines: int = 5,
        period_range: tuple[float, float] = (0.3, 1.0),
        amp0: float | None = None,
        pp1: float | None = None,
        phi_max: float = 0.9 * math.pi / 2,
        link_lengths: tuple[float, float] = LINKS,
        obs_mode: str = "full",
        preview: int = 0,
        phase: bool = False,
        n_clock: int = 5,
        reward_type: str = "gaussian",
        sigma: float = 0.1,
        action_cost: float = 0.0,
        action_rate_cost: float = 0.0,
        terminate_distance: float | None = None,
        fixed_trajectory_seed: int | None = None,
        init_noise: float = 0.0,
        control: str = "velocity",
        oracle_info: bool = False,
        render_mode: str | None = None,
        **others: Any,
    ) -> None:
        for name in others:
            raise TypeError(checks.unknown("argument", name, [*signature(RobotTrajectoryEnv).parameters][:-1]))
        self.omega_max = checks.number("omega_max", omega_max, 0.0, above=True)
        self.link_lengths = checks.pair("link_lengths", link_lengths)
        self.generator = make_generator(
            "env",
            horizon=horizon,
            duration=duration,
            n_sines=n_sines,
            period_range=period_range,
            amp0=amp0,
            pp1=pp1,
            phi_max=phi_max,
            omega_bound=VELOCITY_MARGIN * self.omega_max,
            link_lengths=self.link_lengths,
        )
        self.horizon = horizon
        self.reach = self.generator.dt * self.omega_max  # largest change of a joint in one step
        self.sigma = checks.number("sigma", sigma, 0.0, above=True)
        self.action_cost = checks.number("action_cost", action_cost, 0.0)
        self.action_rate_cost = checks.number("action_rate_cost", action_rate_cost, 0.0)
        self.init_noise = checks.number("init_noise", init_noise, 0.0, math.pi / 2)
        self.terminate_distance = math.inf
        if terminate_distance is not None:
            self.terminate_distance = checks.number("terminate_distance", terminate_distance, 0.0, above=True)
        if fixed_trajectory_seed is not None:
            fixed_trajectory_seed = checks.integer("fixed_trajectory_seed", fixed_trajectory_seed, 0)
        self.fixed_trajectory_seed = fixed_trajectory_seed
        checks.choice("control", control, ("velocity",))
        self.oracle_info = oracle_info
        if render_mode is not None:
            checks.choice("render_mode", render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": max(1, round(1 / self.generator.dt))}

        self._reward = REWARDS[checks.choice("reward_type", reward_type, REWARDS)]
        self._constants = (self.reach, *self.link_lengths, self.sigma, self.terminate_distance, horizon)  # read in one go
        self._extras = oracle_info or render_mode == "human"
        self._costs = action_cost > 0 or action_rate_cost > 0
        radius = sum(self.link_lengths)
        self._late = preview == -1
        self._view = make_view(obs_mode, horizon, radius, preview, bool(phase), n_clock)
        self.observation_space = full_space(radius) if self._view is None else self._view.space
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

        self._drawn: list[Trajectories] = []
        self._batch = 1
        self._path: Trajectories | None = None
        self.step_count, self._end = 0, 0  # steps made, and the step at which the episode is over
        self._painter: Painter | None = None
        self._window: Window | None = None

    @property
    def joints(self) -> np.ndarray:
        """Joint angles (2,)."""
        return np.array((self._q0, self._q1))

    @property
    def path(self) -> Trajectories:
        """The movement behind the targets: arrays (horizon, 2)."""
        if self._path is None:
            raise gymnasium.error.ResetNeeded("Call reset first: it draws the path.")
        return self._path

    @property
    def targets(self) -> np.ndarray:
        """Points (horizon, 2); row k is where the tip has to be after step k, counted from 0."""
        return self.path.xy

    @property
    def target_joints(self) -> np.ndarray:
        """Joint angles (horizon, 2) that the targets were drawn with."""
        return self.path.phi

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._drawn, self._batch = [], 1
        given = checked(options)
        self._path = path = self._choose_path(given)
        self._q0, self._q1 = q0, q1 = self._choose_start(given)
        self._points: list[Point] = [(x, y) for x, y in path.xy.tolist()]
        # What is shown after k steps: the next target, or with preview=-1 the one before it, at first the resting tip.
        self._shown = [self.link_lengths, *self._points] if self._late else [*self._points, self._points[-1]]
        self._a0 = self._a1 = self._sum = 0.0
        self.step_count, self._end = 0, self.horizon
        self._painter = None

        c0, s0, c1, s1 = cos(q0), sin(q0), cos(q1), sin(q1)
        l0, l1 = self.link_lengths
        tip = x, y = l0 * c0 - l1 * (s0 * c1 + c0 * s1), l0 * s0 + l1 * (c0 * c1 - s0 * s1)
        self._trace = [tip]
        target = self._points[0]
        distance = dist(target, tip)
        info: dict[str, Any] = {"distance": distance, "squared_error": distance * distance, "target": target, "tip": tip}
        self._add_extras(info)
        tx, ty = self._shown[0]
        obs = np.array((c0, s0, c1, s1, 0.0, 0.0, x, y, tx, ty, tx - x, ty - y), np.float32)
        if self._view is not None:
            self._view.begin(path.xy)
            obs = self._view.look(0, obs)
        return obs, info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        # Plain floats throughout, and `kinematics.forward` written out: much faster than arrays of two.
        k = self.step_count
        if k >= self._end:
            raise gymnasium.error.ResetNeeded("The episode is over or has not begun: call reset before step.")
        try:
            a0, a1 = action.tolist()
            inside = a0 * a0 <= 1.0 and a1 * a1 <= 1.0  # False for NaN
        except (AttributeError, TypeError, ValueError):
            inside = False
        if not inside:
            a0, a1 = checks.action(action)

        reach, l0, l1, sigma, furthest, horizon = self._constants
        q0, q1 = self._q0 + reach * a0, self._q1 + reach * a1
        if abs(q0) > JOINT_LIMIT:
            q0 = copysign(JOINT_LIMIT, q0)
        if abs(q1) > JOINT_LIMIT:
            q1 = copysign(JOINT_LIMIT, q1)
        self._q0, self._q1 = q0, q1
        c0, s0, c1, s1 = cos(q0), sin(q0), cos(q1), sin(q1)
        tip = x, y = l0 * c0 - l1 * (s0 * c1 + c0 * s1), l0 * s0 + l1 * (c0 * c1 - s0 * s1)
        self._trace.append(tip)

        target = self._points[k]
        distance = dist(target, tip)
        self._sum += distance
        reward = self._reward(distance, sigma)
        if self._costs:
            reward -= self.action_cost * (a0 * a0 + a1 * a1)
            reward -= self.action_rate_cost * ((a0 - self._a0) ** 2 + (a1 - self._a1) ** 2)
            self._a0, self._a1 = a0, a1

        self.step_count = k = k + 1
        terminated, truncated = distance > furthest, k == horizon
        info: dict[str, Any] = {"distance": distance, "squared_error": distance * distance, "target": target, "tip": tip}
        if terminated or truncated:
            self._end = k
            info["mean_distance"] = self._sum / k
            info["is_success"] = not terminated and info["mean_distance"] < SUCCESS_DISTANCE
        if self._extras:
            self._add_extras(info)
        tx, ty = self._shown[k]
        obs: Any = empty(12, FLOAT32)
        PACK(obs, 0, c0, s0, c1, s1, a0, a1, x, y, tx, ty, tx - x, ty - y)
        if self._view is not None:
            obs = self._view.look(k, obs)
        return obs, reward, terminated, truncated, info

    def render(self) -> np.ndarray | None:
        if self.render_mode is None:
            gymnasium.logger.warn("render() does nothing without render_mode; make the environment with 'rgb_array'.")
            return None
        target = tuple(self.targets[min(self.step_count, self.horizon - 1)])
        elbow = (self.link_lengths[0] * cos(self._q0), self.link_lengths[0] * sin(self._q0))
        self._painter = self._painter or Painter(self._points, self.link_lengths)
        frame = self._painter.frame(elbow, self._trace[-1], target, self._trace)
        if self.render_mode == "rgb_array":
            return frame
        self._window = self._window or Window("RobotTrajectory")
        self._window.show(frame, self.metadata["render_fps"])
        return None

    def _add_extras(self, info: dict[str, Any]) -> None:
        if self.oracle_info:
            info["oracle_action"] = oracle(self)
        if self.render_mode == "human":
            self.render()

    def close(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None

    def _choose_path(self, options: Mapping[str, Any]) -> Trajectories:
        if "trajectory" in options:
            return given_path(options["trajectory"], self.generator, self.omega_max)
        if "static" in options and self._path is not None:
            return self._path
        seed = options.get("trajectory_seed", self.fixed_trajectory_seed)
        if seed is not None:
            return self._draw(np.random.default_rng(checks.integer("trajectory_seed", seed, 0)), 1)[0]
        if not self._drawn:
            self._drawn, self._batch = self._draw(self.np_random, self._batch), DRAWN_AHEAD
        return self._drawn.pop()

    def _draw(self, rng: np.random.Generator, batch: int) -> list[Trajectories]:
        """`batch` paths, the first drawn last."""
        return [Trajectories(*arrays) for arrays in zip(*self.generator.sample(rng, batch), strict=True)][::-1]

    def _choose_start(self, options: Mapping[str, Any]) -> tuple[float, float]:
        noise = (0.0, 0.0)
        if self.init_noise > 0:  # drawn before `q0` is looked at, which so leaves the paths of later episodes alone
            noise = tuple(self.np_random.uniform(-self.init_noise, self.init_noise, 2).tolist())
        return given_start(options["q0"]) if "q0" in options else noise
