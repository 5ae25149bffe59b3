"""Meta-World's tasks for continual learning."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle

from envs.damage import _nearest
from envs.damaged.course import check_action
from envs.damaged.display import check_display, no_opengl
from envs.damaged.picture import draw

try:
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
except ImportError as error:
    raise DependencyNotInstalled('Meta-World is not installed; run `pip install "spikegym[metaworld]"`.') from error

NO_LIMIT = 2**63


class ContinualWorld(gymnasium.Env[np.ndarray, np.ndarray], EzPickle):
    """
    ## Description
    One of the 50 tasks of Meta-World, which a robot arm does on a table: push a puck, close a window, hammer a nail. As in
    Continual World (Wolczyk et al., NeurIPS 2021) object and goal are drawn anew at every reset; other than there, the
    tasks are those of version 3, whose observation is larger and whose default reward is better. The draws come from the
    environment's own generator: the same seed gives the same episodes. (Meta-World's own environments ignore the seed of
    `reset`.)

    The tasks of its ten-task sequence: `hammer`, `push-wall`, `faucet-close`, `push-back`, `stick-pull`,
    `handle-press-side`, `push`, `shelf-place`, `window-close`, `peg-unplug-side`. Needs the extra `metaworld`.

    ## Action Space
    `Box(-1, 1, (4,), float32)`: displacement of the hand in hundredths of a metre (x, y, z), and force of the gripper.

    ## Observation Space
    `Box(-inf, inf, (39,), float64)`, in metres; the same meaning in every task:

    | Index | What it is |
    |---|---|
    | 0 to 2, 3 | position of the hand; how far the gripper is open (0 to 1) |
    | 4 to 17 | position and quaternion of up to two objects, zeros where there is none |
    | 18 to 35 | all of these one step earlier |
    | 36 to 38 | position of the goal |

    ## Rewards
    Meta-World's, 0 to 10 in each step with `reward_version="v2"`. `info["success"]` is 1.0 in a step in which the task is
    done, else 0.0; `info` also has `obj_to_target` (m) and the parts of the reward.

    ## Starting State
    The hand above the table; object and goal uniformly in the regions of the task.

    ## Episode End
    Truncated after 200 steps; never terminated, not by success either.

    ## Arguments
    ```python
    import gymnasium, envs
    env = gymnasium.make("ContinualWorld-v0", task="window-close")
    ```

    | Parameter | Type | Default | Description |
    |---|---|---|---|
    | `task` | str | `"push"` | The task without its version |
    | `reward_version` | str | `"v2"` | `"v1"`: the reward of Meta-World 1, on which Continual World was published |
    | `render_mode` | str or None | `None` | `"rgb_array"` or `"human"` |
    | `renderer` | str | `"opengl"` | `"software"` draws `rgb_array` frames on machines without OpenGL, meshes as boxes |
    | `width`, `height` | int | `480` | Size of a frame in pixels |

    ## Version History
    * v0: initial version
    """

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 80}

    def __init__(
        self,
        task: str = "push",
        reward_version: str = "v2",
        render_mode: str | None = None,
        renderer: str = "opengl",
        width: int = 480,
        height: int = 480,
    ) -> None:
        EzPickle.__init__(self, task, reward_version, render_mode, renderer, width, height)
        known = [name.removesuffix("-v3") for name in ALL_V3_ENVIRONMENTS]
        if task not in known:
            raise ValueError(f"Meta-World has no task '{task}'.{_nearest(task, known)} Known: {', '.join(known)}.")
        if reward_version not in ("v1", "v2"):
            raise ValueError(f"reward_version='{reward_version}' is unknown; use 'v1' or 'v2'.")
        if render_mode not in (None, "rgb_array", "human"):
            raise ValueError(f"render_mode='{render_mode}' is not supported; use None, 'rgb_array' or 'human'.")
        if renderer not in ("opengl", "software"):
            raise ValueError(f"renderer='{renderer}' is unknown; use 'opengl' or 'software'.")
        check_display(render_mode)
        self.task, self.render_mode, self.renderer = task, render_mode, renderer
        self.width, self.height = width, height
        drawn: Any = None if renderer == "software" else render_mode
        self.arm: Any = ALL_V3_ENVIRONMENTS[f"{task}-v3"](
            reward_function_version=reward_version,
            render_mode=drawn,
            camera_name="corner",
            width=width,
            height=height,
        )
        # Without one of its 50 fixed goals, with the goal in the observation, and with no end of its own.
        self.arm._set_task_called = True
        self.arm._freeze_rand_vec = False
        self.arm.seeded_rand_vec = True
        self.arm._partially_observable = False
        del self.arm.sawyer_observation_space  # has the goal's range of a hidden one
        self.arm.max_path_length = NO_LIMIT
        self.observation_space = Box(-np.inf, np.inf, (39,), np.float64)
        self.action_space = Box(-1.0, 1.0, (4,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.arm.np_random = self.np_random
        return self.arm.reset()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        check_action(action)
        obs, reward, _, _, info = self.arm.step(np.clip(action, -1.0, 1.0))
        return obs, float(reward), False, False, info

    def render(self) -> Any:
        if self.render_mode is not None and self.renderer == "software":
            return draw(self.arm.model, self.arm.data, self.width, self.height)
        try:
            return self.arm.render()
        except Exception as error:
            raise no_opengl(error) from error

    def close(self) -> None:
        self.arm.close()
