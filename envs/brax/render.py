"""Pictures of Brax robots, the same for every physics."""

import functools
from typing import Any

import numpy as np

from envs.brax.damage import DamagedTask
from envs.brax.tasks import BraxTask, TaskState
from envs.scene import PALETTE, TARGET, Scene, Shape, mujoco_shapes, multiply


def render(task: BraxTask, state: TaskState, width: int = 480, height: int = 384) -> np.ndarray:
    """Frame (height, width, 3) uint8 of one state, seen from a camera that follows the robot."""
    pos, rot = _poses(task, state)
    body = int(state.damage.condition.body) if isinstance(task, DamagedTask) else 0
    return _scene(task, body).draw(pos, rot, width, height)


@functools.lru_cache(maxsize=8)
def _scene(task: BraxTask, body: int) -> Scene:
    system = task.bodies.system(body) if isinstance(task, DamagedTask) else task.env.sys
    return Scene(_shapes_v1(system.config) if task.physics == "v1" else mujoco_shapes(system.mj_model))


def _poses(task: BraxTask, state: TaskState) -> tuple[np.ndarray, np.ndarray]:
    """Position (B, 3) and rotation (B, 4) of every body; body 0 of the later physics is the world."""
    if task.physics == "v1":
        return np.asarray(state.physics.qp.pos, float), np.asarray(state.physics.qp.rot, float)
    x = state.physics.pipeline_state.x
    pos = np.concatenate([np.zeros((1, 3)), np.asarray(x.pos, float)])
    return pos, np.concatenate([[[1.0, 0.0, 0.0, 0.0]], np.asarray(x.rot, float)])


def _shapes_v1(config: Any) -> list[Shape]:
    shapes = []
    for index, body in enumerate(config.bodies):
        for collider in body.colliders:
            kind = collider.WhichOneof("type")
            if kind not in ("capsule", "sphere", "box") or collider.hidden:
                continue
            part: Any = getattr(collider, kind)
            if kind == "capsule":
                size: tuple[float, ...] = (part.radius, part.length / 2 - part.radius)
            else:
                size = (part.radius,) if kind == "sphere" else (part.halfsize.x, part.halfsize.y, part.halfsize.z)
            pos = np.array([collider.position.x, collider.position.y, collider.position.z])
            quat = _from_euler(collider.rotation.x, collider.rotation.y, collider.rotation.z)
            color = TARGET if body.name.lower() == "target" else PALETTE[index % len(PALETTE)]
            shapes.append(Shape(kind, size, index, pos, quat, color))
    return shapes


def _from_euler(x: float, y: float, z: float) -> np.ndarray:
    """Quaternion of rotations about x, then y, then z of the turned frame, in degrees."""
    half = np.deg2rad([x, y, z]) / 2
    turns = [np.concatenate([[np.cos(h)], np.sin(h) * axis]) for h, axis in zip(half, np.eye(3), strict=True)]
    return multiply(multiply(turns[0], turns[1]), turns[2])
