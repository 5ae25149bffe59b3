"""Gymnasium's CarRacing with array drawing and early stopping."""

import difflib
import math
from collections.abc import Iterable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import DependencyNotInstalled
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

try:
    from gymnasium.envs.box2d.car_racing import CarRacing

    from envs.car_racing.raster import PAINTERS
    from envs.car_racing.track import Tiles, cut_lap, draw_checkpoints, drive, pave
except DependencyNotInstalled as missing:
    raise DependencyNotInstalled('CarRacing needs Box2D and pygame: pip install "spikegym[box2d]"') from missing

State = NDArray[np.uint8]
SMALLEST, LARGEST = 16, 400  # obs_size; the fast renderer never draws larger than Gymnasium's own window


def check_name(argument: str, given: object, known: Iterable[str]) -> None:
    """Refuse an unknown name, naming the valid ones and the nearest."""
    names = sorted(known)
    if given in names:
        return
    near = difflib.get_close_matches(str(given), names, 1, cutoff=0.4)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise ValueError(f"{argument}={given!r} is unknown; choose from {', '.join(map(repr, names))}.{hint}")


def check_integer(argument: str, given: object, low: int, high: float = math.inf) -> None:
    """Refuse anything but an integer in [low, high]."""
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or not low <= given <= high:
        allowed = f"at least {low}" if high == math.inf else f"{low} to {high}"
        raise ValueError(f"{argument}={given!r} must be an integer of {allowed}.")


def to_gray(state: State) -> State:
    """(H, W, 3) to (H, W, 1) brightness with the weights of ITU-R BT.601 (0.299, 0.587, 0.114) in 1/65536."""
    red, green, blue = np.moveaxis(state, 2, 0).astype(np.uint32)
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(np.uint8)[..., None]


class CarRacingEarlyStop(CarRacing):
    """CarRacing-v3 that gives up on episodes without progress and runs several times faster.

    ## Description
    The track, physics, reward and random numbers are Gymnasium's: the same seed and actions drive the same car over the
    same track. Tracks are built and states drawn several times faster. `renderer="exact"` gives Gymnasium's pixels;
    `renderer="fast"` gives nearly the same picture (mean absolute difference about 1 of 255) at a multiple of the speed.
    Policies trained on one should be tested on the one they are trained with.

    ## Action Space
    `continuous=True`: `Box([-1, 0, 0], [1, 1, 1], (3,), float32)`, steering (-1 left, +1 right), gas, brake. Gas rises by
    at most 0.1 per frame; a brake of 0.9 or more locks the wheels. Actions that are not finite raise a `ValueError`.

    `continuous=False`: `Discrete(5)`, 0 nothing, 1 right, 2 left, 3 gas, 4 brake.

    ## Observation Space
    `Box(0, 255, (obs_size, obs_size, 3), uint8)`: the car from above, with the black bar of indicators below; with
    `grayscale=True` the last axis has length 1. The picture zooms in during the first second.

    ## Rewards
    -0.1 per frame, +1000/N for each new one of the track's N tiles, and -100 (instead) for leaving the field. With
    `frame_skip`, the sum over the frames of the step.

    ## Starting State
    At rest in the middle of a new random track. The tiles under the car are paid with the first step.

    ## Episode End
    `terminated` when the lap is complete (`info["lap_finished"]` True) or the car leaves the field (False).
    `truncated` with `info["early_stop"]` True after `patience` consecutive steps of negative reward; the rewards of the
    first `grace` steps are not looked at. `truncated` also after 1000 steps (`max_episode_steps` of `gymnasium.make`).

    ## Arguments
    | argument | default | meaning |
    |---|---|---|
    | `renderer` | "exact" | "exact" or "fast" |
    | `patience` | 20 | consecutive steps of negative reward that end the episode; None never ends it |
    | `grace` | 0 | steps at the start of an episode whose rewards do not count towards `patience` |
    | `frame_skip` | 1 | frames for which an action is held; only the last is drawn |
    | `grayscale` | False | one channel of brightness instead of three of colour |
    | `obs_size` | 96 | height and width of the observation, 16 to 400 |
    | `continuous` | True | kind of action space |
    | `domain_randomize` | False | new colours at every reset, unless `reset(options={"randomize": False})` |
    | `lap_complete_percent` | 0.95 | Gymnasium's: share of the tiles after which crossing the start ends the lap |
    | `render_mode` | None | None, "rgb_array", "human" or "state_pixels" (the coloured state) |

    ## Version History
    * v0: first version
    """

    def __init__(
        self,
        renderer: str = "exact",
        patience: int | None = 20,
        grace: int = 0,
        frame_skip: int = 1,
        grayscale: bool = False,
        obs_size: int = 96,
        continuous: bool = True,
        domain_randomize: bool = False,
        lap_complete_percent: float = 0.95,
        render_mode: str | None = None,
    ) -> None:
        check_name("renderer", renderer, PAINTERS)
        if render_mode is not None:
            check_name("render_mode", render_mode, self.metadata["render_modes"])
        if patience is not None:
            check_integer("patience", patience, 1)
        check_integer("grace", grace, 0)
        check_integer("frame_skip", frame_skip, 1)
        check_integer("obs_size", obs_size, SMALLEST, LARGEST)
        if not 0 < lap_complete_percent <= 1:
            raise ValueError(f"lap_complete_percent={lap_complete_percent!r} must be above 0 and at most 1.")
        super().__init__(
            render_mode=render_mode,
            lap_complete_percent=lap_complete_percent,
            domain_randomize=domain_randomize,
            continuous=continuous,
        )
        # fmt: off
        EzPickle.__init__(
            self, renderer, patience, grace, frame_skip, grayscale, obs_size, continuous, domain_randomize,
            lap_complete_percent, render_mode,
        )
        # fmt: on
        self.observation_space = spaces.Box(0, 255, (obs_size, obs_size, 1 if grayscale else 3), np.uint8)
        self.patience, self.grace, self.frame_skip, self.grayscale = patience, grace, frame_skip, grayscale
        self._painter = PAINTERS[renderer](obs_size)
        self._tiles = Tiles(self.world, self.fd_tile)
        self._steps = self._losses = 0
        self._frames_hidden = False
        self._hidden_score = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[State, dict[str, Any]]:
        self._steps = self._losses = 0
        state, info = super().reset(seed=seed, options=options)
        return self._observe(state), info

    def step(self, action: Any) -> tuple[State, float, bool, bool, dict[str, Any]]:
        if action is None:  # Gymnasium's reset steps without an action to draw the first frame
            return super().step(None)  # type: ignore[arg-type]
        if self.car is None:
            raise gymnasium.error.ResetNeeded("Call reset before the first step.")
        action = self._checked(action)
        total = 0.0
        for frame in range(self.frame_skip):
            self._frames_hidden = frame < self.frame_skip - 1
            state, reward, terminated, _, info = super().step(action)
            total += reward
            if terminated:
                break
        if self._frames_hidden:  # the episode ended on a frame that was not to be drawn
            state = self._draw_hidden_frame()
        self._steps += 1
        self._losses = self._losses + 1 if total < 0 and self._steps > self.grace else 0
        info["early_stop"] = not terminated and self.patience is not None and self._losses >= self.patience
        return self._observe(state), float(total), terminated, info["early_stop"], info

    def close(self) -> None:
        super().close()
        self.screen = None  # a second close would shut pygame down under other environments

    def _checked(self, action: Any) -> Any:
        """The action as Gymnasium expects it; anything that would corrupt the physics is refused."""
        if not self.continuous:
            return action  # Gymnasium refuses what is not in the space
        action = np.asarray(action, np.float64)
        if action.shape != (3,) or not np.isfinite(action).all():
            raise ValueError(f"action {action} must be three finite numbers: steering, gas, brake.")
        return action

    def _observe(self, state: State) -> State:
        return to_gray(state) if self.grayscale else state

    def _draw_hidden_frame(self) -> State:
        """The last frame, with the score that Gymnasium would have drawn: before the frame's cost is subtracted."""
        score, self.reward, self._frames_hidden = self.reward, self._hidden_score, False
        state = self._painter.paint(self)
        self.reward = score
        return state

    def _create_track(self) -> bool:
        lap = cut_lap(drive(draw_checkpoints(self.np_random)))
        if lap is None:
            return False
        road = self._painter.shapes.load(pave(lap, self.road_color), self.grass_color)
        self.track = lap
        self.road = self._tiles.lay(road)  # type: ignore[assignment]
        self.road_poly = list(zip(road.corners.tolist(), road.colors, strict=True))
        return True

    def _destroy(self) -> None:
        """Take the car out of the world; the tiles are moved under the next track."""
        if self.car is not None:
            self.car.destroy()
            self.car = None

    def _render(self, mode: str) -> Any:
        if mode != "state_pixels":
            return super()._render(mode)
        if self._frames_hidden:
            self._hidden_score = self.reward
            return None
        return self._painter.paint(self)
