"""Pictures of a MuJoCo robot in software, for machines without OpenGL."""

import functools
from typing import Any

import numpy as np

from envs.scene import Scene, mujoco_shapes


def draw(model: Any, data: Any, width: int, height: int) -> np.ndarray:
    """Frame (height, width, 3) uint8 of the state, in the bodies' present shapes."""
    looks = (model.geom_size.tobytes(), model.geom_pos.tobytes(), model.geom_rgba.tobytes())
    return _scene(_Model(model), looks).draw(data.xpos, data.xquat, width, height)


class _Model:
    """A model as a cache key: equal when it is the same object."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Model) and self.model is other.model

    def __hash__(self) -> int:
        return id(self.model)


@functools.lru_cache(maxsize=8)
def _scene(key: _Model, looks: tuple[bytes, ...]) -> Scene:
    del looks  # only tells scenes of differently damaged bodies apart
    return Scene(mujoco_shapes(key.model))
