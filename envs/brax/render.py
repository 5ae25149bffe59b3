"""Pictures of Brax robots, drawn in software: no display, no GL library, the same for every physics."""

import functools
from typing import Any, NamedTuple

import mujoco
import numpy as np
import pytinyrenderer as tiny

from envs.brax.tasks import BraxTask, TaskState

TILE = 1.0  # side of a ground tile in metres
GROUND = 16  # tiles along a side of the drawn ground; it follows the robot
PALETTE = ((0.93, 0.55, 0.22), (0.85, 0.44, 0.16), (0.97, 0.66, 0.33))
TARGET = (0.20, 0.65, 0.35)


class Shape(NamedTuple):
    """A geometric body part: `size` is (radius, half length) of a capsule, (radius,) of a sphere, half sides of a box."""

    kind: str
    size: tuple[float, ...]
    body: int
    pos: np.ndarray
    quat: np.ndarray  # (w, x, y, z), relative to the body
    color: tuple[float, float, float]


def render(task: BraxTask, state: TaskState, width: int = 480, height: int = 384) -> np.ndarray:
    """Frame (height, width, 3) uint8 of one state, seen from a camera that follows the robot."""
    pos, rot = _poses(task, state)
    return _scene(task).draw(pos, rot, width, height)


class Scene:
    """The meshes of one robot and its ground, built once; every frame moves them."""

    def __init__(self, shapes: list[Shape]) -> None:
        self.shapes = shapes
        self.renderer = tiny.TinySceneRenderer()
        self.instances = [self._add(shape) for shape in shapes]
        checker = (np.indices((64, 64)) // 32).sum(axis=0) % 2
        pixels = np.where(checker[..., None] == 0, (186, 196, 208), (158, 170, 184)).astype(int)
        side = GROUND * TILE / 2
        mesh = self.renderer.create_cube([side, side, 0.01], pixels.ravel().tolist(), 64, 64, GROUND / 2)
        self.ground = self.renderer.create_object_instance(mesh)

    def draw(self, pos: np.ndarray, rot: np.ndarray, width: int, height: int) -> np.ndarray:
        centres: list[np.ndarray] = []
        for shape, instance in zip(self.shapes, self.instances, strict=True):
            w, x, y, z = _multiply(rot[shape.body], shape.quat)
            centres.append(pos[shape.body] + _rotate(rot[shape.body], shape.pos))
            self.renderer.set_object_position(instance, centres[-1].tolist())
            self.renderer.set_object_orientation(instance, [x, y, z, w])
        middle = np.mean([np.min(centres, axis=0), np.max(centres, axis=0)], axis=0)
        reach = [np.linalg.norm(c - middle) + max(s.size) for c, s in zip(centres, self.shapes, strict=True)]
        target = middle + np.array([0.0, 0.0, -0.1 * max(reach)])
        eye = target + 3.7 * max(reach) * np.array([0.35, -0.95, 0.38])
        ground = [2 * TILE * round(c / (2 * TILE)) for c in middle[:2]]  # shifted by whole periods of the checker
        self.renderer.set_object_position(self.ground, [*ground, -0.01])
        camera = tiny.TinyRenderCamera(
            viewWidth=width, viewHeight=height, hfov=58.0 * width / height / (4 / 3) * 0.8, vfov=58.0 * 0.75 * 0.8,
            position=eye.tolist(), target=target.tolist(),
        )  # fmt: skip
        light = tiny.TinyRenderLight(
            direction=[0.5, -0.55, 1.0], ambient=0.68, diffuse=0.5, specular=0.1, shadowmap_center=target.tolist()
        )
        image = self.renderer.get_camera_image([self.ground, *self.instances], light, camera)
        return np.asarray(image.rgb, np.uint8).reshape(height, width, 3)

    def _add(self, shape: Shape) -> int:
        color = [int(255 * c) for c in shape.color]
        if shape.kind == "box":
            mesh = self.renderer.create_cube(list(shape.size), color, 1, 1, 1.0)
        else:
            half_length = shape.size[1] if shape.kind == "capsule" else 0.0
            mesh = self.renderer.create_capsule(shape.size[0], half_length, 2, color, 1, 1)
        return self.renderer.create_object_instance(mesh)


@functools.lru_cache(maxsize=8)
def _scene(task: BraxTask) -> Scene:
    shapes = _shapes_v1(task) if task.physics == "v1" else _shapes_mujoco(task)
    return Scene(shapes)


def _poses(task: BraxTask, state: TaskState) -> tuple[np.ndarray, np.ndarray]:
    """Position (B, 3) and rotation (B, 4) of every body; body 0 of the later physics is the world."""
    if task.physics == "v1":
        return np.asarray(state.physics.qp.pos, float), np.asarray(state.physics.qp.rot, float)
    x = state.physics.pipeline_state.x
    pos = np.concatenate([np.zeros((1, 3)), np.asarray(x.pos, float)])
    return pos, np.concatenate([[[1.0, 0.0, 0.0, 0.0]], np.asarray(x.rot, float)])


def _shapes_v1(task: BraxTask) -> list[Shape]:
    shapes = []
    for index, body in enumerate(task.env.sys.config.bodies):
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


def _shapes_mujoco(task: BraxTask) -> list[Shape]:
    model = task.env.sys.mj_model
    kinds = {
        int(mujoco.mjtGeom.mjGEOM_CAPSULE): ("capsule", 2),
        int(mujoco.mjtGeom.mjGEOM_CYLINDER): ("capsule", 2),
        int(mujoco.mjtGeom.mjGEOM_SPHERE): ("sphere", 1),
        int(mujoco.mjtGeom.mjGEOM_BOX): ("box", 3),
    }
    shapes = []
    for g in range(model.ngeom):
        if int(model.geom_type[g]) not in kinds:
            continue
        kind, count = kinds[int(model.geom_type[g])]
        body = int(model.geom_bodyid[g])
        color = TARGET if model.body(body).name == "target" else PALETTE[body % len(PALETTE)]
        size = tuple(float(s) for s in model.geom_size[g][:count])
        shapes.append(Shape(kind, size, body, model.geom_pos[g].copy(), model.geom_quat[g].copy(), color))
    return shapes


def _multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product of quaternions (w, x, y, z)."""
    w = a[0] * b[0] - a[1:] @ b[1:]
    return np.concatenate([[w], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])])


def _rotate(q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Vector v rotated by the unit quaternion q."""
    t = 2 * np.cross(q[1:], v)
    return v + q[0] * t + np.cross(q[1:], t)


def _from_euler(x: float, y: float, z: float) -> np.ndarray:
    """Quaternion of rotations about x, then y, then z of the turned frame, in degrees."""
    half = np.deg2rad([x, y, z]) / 2
    turns = [np.concatenate([[np.cos(h)], np.sin(h) * axis]) for h, axis in zip(half, np.eye(3), strict=True)]
    return _multiply(_multiply(turns[0], turns[1]), turns[2])
