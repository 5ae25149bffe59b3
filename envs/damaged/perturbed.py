"""Perturbations applied to a MuJoCo model: to its `mujoco.MjSpec` before it is compiled, so that masses, moments of inertia
and contact geometry are the compiler's."""

import math
from collections.abc import Iterable
from typing import Any

import mujoco
import numpy as np

from envs.continual.perturb import Perturbation
from envs.continual.robots import Plan

SHORTEST = 1e-4  # half length in metres of a capsule that is wider than it was long


def perturb(spec: Any, plan: Plan, perturbation: Perturbation, fidelity: str) -> None:
    """Change gravity, friction, masses and sizes of a specification.

    The radius of a capsule grows, its whole length stays. MuJoCo takes the larger friction of two geoms in contact, so that
    of all geoms is scaled, the ground's too. Masses are changed by the density, so that what else changes a geom's size
    changes its mass.
    """
    spec.option.gravity = perturbation.gravity * np.array(spec.option.gravity)
    friction = perturbation.friction ** (2 if fidelity == "original" else 1)
    for geom in spec.geoms:
        geom.friction[0] *= friction
    if not perturbation.bodies:
        return
    release_total_mass(spec)
    for part, factor in dict(perturbation.bodies).items():
        for name in plan.parts[part].geoms:
            geom = spec.geom(name)
            if geom is None:
                continue
            before = _volume(geom)
            if name in plan.parts[part].grown_geoms:
                _grow(geom, factor)
            if math.isnan(geom.mass):
                geom.density *= factor * before / _volume(geom)
            else:
                geom.mass *= factor


def keep_inertia(model: Any, usual: Any, bodies: Iterable[int]) -> None:
    """Give bodies the moments of inertia that they have in another model, about the same points and axes."""
    for body in bodies:
        for field in ("body_inertia", "body_ipos", "body_iquat"):
            getattr(model, field)[body] = getattr(usual, field)[body]
    mujoco.mj_setConst(model, mujoco.MjData(model))


def perturbed_bodies(model: Any, plan: Plan, perturbation: Perturbation) -> tuple[int, ...]:
    """Numbers of the bodies whose mass is changed."""
    known = {model.geom(i).name: int(model.geom_bodyid[i]) for i in range(model.ngeom)}
    geoms = [name for part in dict(perturbation.bodies) for name in plan.parts[part].geoms]
    return tuple(sorted({known[name] for name in geoms if name in known}))


def release_total_mass(spec: Any) -> None:
    """Models that scale themselves to a total mass would make the rest of a changed robot heavier or lighter; give every geom
    the density that it has in the usual one."""
    if spec.compiler.settotalmass <= 0:
        return
    total = spec.compiler.settotalmass
    spec.compiler.settotalmass = -1
    scale = total / float(spec.copy().compile().body_mass.sum())
    for geom in spec.geoms:
        geom.density *= scale


def _ends(geom: Any) -> np.ndarray:
    return np.array(geom.fromto).reshape(2, 3)


def _half_length(geom: Any) -> float:
    """Half length of a capsule without its caps, 0 of a sphere."""
    if geom.type == mujoco.mjtGeom.mjGEOM_SPHERE:
        return 0.0
    if np.isnan(geom.fromto[0]):
        return float(geom.size[1])
    near, far = _ends(geom)
    return float(np.linalg.norm(far - near)) / 2


def _volume(geom: Any) -> float:
    radius = float(geom.size[0])
    return math.pi * radius**2 * (2 * _half_length(geom) + 4 / 3 * radius)


def _grow(geom: Any, factor: float) -> None:
    """Scale the radius and leave the whole length, so that the ends stay where they are."""
    radius, half = float(geom.size[0]), _half_length(geom)
    geom.size[0] = factor * radius
    if geom.type == mujoco.mjtGeom.mjGEOM_SPHERE:
        return
    shorter = max(half + radius - factor * radius, SHORTEST)
    if np.isnan(geom.fromto[0]):  # the compiler wants a geom to stay in the form that it was given in
        geom.size[1] = shorter
    else:
        near, far = _ends(geom)
        middle = (near + far) / 2
        geom.fromto[:] = [*(middle + (near - middle) * shorter / half), *(middle + (far - middle) * shorter / half)]
