"""Objective functions as Gymnasium environments of one step."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle

from envs.damaged.course import check_action
from envs.toy.objectives import make_objective
from envs.window import Window

CELL = 16  # pixels of an element's square
COLUMNS = 16


class ToyEnv(gymnasium.Env[np.ndarray, np.ndarray], EzPickle):
    """A function of the action, to be maximised: nothing to see, one step, and the best action is known.

    ## Description
    What evolution strategies are tried on in seconds. With `PointPolicy` or `BitsPolicy` the parameters of a network are its
    action, so that the objective is a function of the parameters themselves; every other network works as well.

    | id | `objective` | action that is best | its reward for `size=256` |
    |---|---|---|---|
    | HalfOneMax-v0 | ones in the first half | ones in the first half, anything in the other | 128 |
    | Quadratic-v0 | minus the squared distance to a point | (0.5, -0.5, 0.5, ...) | 0 |
    | Deceptive-v0 | sum of traps of four bits: 4 when all are ones, else 3 less the ones | ones | 256 |

    ## Action Space
    `Box(-1, 1, (size,), float32)`; values outside are clipped. For the objectives on bits an entry above 0 is a one.

    ## Observation Space
    `Box(0, 1, (1,), float32)`: always 1.

    ## Rewards
    The objective of the action. `env.unwrapped.optimum` is the largest, `env.unwrapped.solution` an action that reaches it.

    ## Starting State
    None; all episodes are alike.

    ## Episode End
    `terminated` after one step.

    ## Arguments
    | argument | default | meaning |
    |---|---|---|
    | `objective` | set by the id | "half_one_max", "quadratic", "deceptive" |
    | `size` | 256 | numbers in the action; even for half_one_max, a multiple of 4 for deceptive |
    | `render_mode` | None | None, "rgb_array" or "human" (a window, extra `box2d`): the last action, a square a number |

    ## Version History
    * v0: first version
    """

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 10}

    def __init__(self, objective: str, size: int = 256, render_mode: str | None = None) -> None:
        EzPickle.__init__(self, objective, size, render_mode)
        if render_mode not in (None, "rgb_array", "human"):
            raise ValueError(f"render_mode='{render_mode}' is not supported; use None, 'rgb_array' or 'human'.")
        self.objective, self.size = objective, size
        self._objective = make_objective(objective, size)
        self.observation_space, self.action_space = spaces.Box(0.0, 1.0, (1,)), spaces.Box(-1.0, 1.0, (size,))
        self.render_mode = render_mode
        self._action = np.zeros(size, np.float32)
        self._window: Window | None = None

    @property
    def optimum(self) -> float:
        """The largest reward there is."""
        return self._objective.optimum(self.size)

    @property
    def solution(self) -> np.ndarray:
        """An action that is rewarded with the optimum."""
        return self._objective.solution(self.size)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._action = np.zeros(self.size, np.float32)
        if self.render_mode == "human":
            self.render()
        return np.ones(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        check_action(action)
        self._action = np.clip(np.asarray(action, np.float32), -1.0, 1.0).reshape(self.size)
        if self.render_mode == "human":
            self.render()
        return np.ones(1, np.float32), float(self._objective.function(self._action)), True, False, {}

    def render(self) -> np.ndarray | None:
        if self.render_mode is None:
            gymnasium.logger.warn("render() does nothing without render_mode; make the environment with 'rgb_array'.")
            return None
        frame = _picture(self._action)
        if self.render_mode == "rgb_array":
            return frame
        self._window = self._window or Window(self.objective)
        self._window.show(frame, self.metadata["render_fps"])
        return None

    def close(self) -> None:
        if self._window is not None:
            self._window.close()
            self._window = None


def _picture(action: np.ndarray) -> np.ndarray:
    """Squares in reading order, blue for -1 over white to red for 1; those of the last row that are none are grey."""
    rows = -(-len(action) // COLUMNS)
    cells = np.full((rows * COLUMNS, 3), 128.0)
    away = np.abs(action)[:, None]  # from white
    cells[: len(action)] = 255 - away * np.where(action[:, None] > 0, (55, 215, 215), (215, 215, 55))
    grid = np.repeat(np.repeat(cells.reshape(rows, COLUMNS, 3), CELL, axis=0), CELL, axis=1)
    grid[::CELL] = grid[:, ::CELL] = 128.0
    return grid.astype(np.uint8)
