"""Pictures of robots made of simple shapes, drawn in software: no display, no GL library."""

from typing import Any, NamedTuple

import mujoco
import numpy as np
import pytinyrenderer as tiny

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


class Scene:
    """The meshes of one robot and its ground, built once; every frame moves them. Drawn in software: no display, no GL."""

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
        """Frame (height, width, 3) uint8 of bodies at `pos` (B, 3), turned by quaternions `rot` (B, 4), seen from a camera
        that follows the robot."""
        centres: list[np.ndarray] = []
        for shape, instance in zip(self.shapes, self.instances, strict=True):
            w, x, y, z = multiply(rot[shape.body], shape.quat)
            centres.append(pos[shape.body] + rotate(rot[shape.body], shape.pos))
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


def mujoco_shapes(model: Any) -> list[Shape]:
    """The visible geoms of a MuJoCo model, without planes."""
    kinds = {
        int(mujoco.mjtGeom.mjGEOM_CAPSULE): ("capsule", 2),
        int(mujoco.mjtGeom.mjGEOM_CYLINDER): ("capsule", 2),
        int(mujoco.mjtGeom.mjGEOM_SPHERE): ("sphere", 1),
        int(mujoco.mjtGeom.mjGEOM_BOX): ("box", 3),
        int(mujoco.mjtGeom.mjGEOM_MESH): ("box", 3),  # the size of a mesh is that of the box around it
    }
    shapes = []
    for g in range(model.ngeom):
        if int(model.geom_type[g]) not in kinds or model.geom_rgba[g, 3] == 0:
            continue
        kind, count = kinds[int(model.geom_type[g])]
        body = int(model.geom_bodyid[g])
        color = TARGET if model.body(body).name == "target" else PALETTE[body % len(PALETTE)]
        size = tuple(float(s) for s in model.geom_size[g][:count])
        shapes.append(Shape(kind, size, body, model.geom_pos[g].copy(), model.geom_quat[g].copy(), color))
    return shapes


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product of quaternions (w, x, y, z)."""
    w = a[0] * b[0] - a[1:] @ b[1:]
    return np.concatenate([[w], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])])


def rotate(q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Vector v rotated by the unit quaternion q."""
    t = 2 * np.cross(q[1:], v)
    return v + q[0] * t + np.cross(q[1:], t)
