"""Damage and perturbation applied to a MuJoCo model, before or during an episode.

A removed or shortened limb is compiled from an edited `mujoco.MjSpec`, so that masses, inertias and contact geometry are
the compiler's; the arrays in which the edited model differs are then copied into the running one. No body is taken out
of the model: a removed limb keeps its joints as massless, invisible, untouchable remains, so that observations and
actions keep their sizes and the limb can go, and come back, at any step.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import mujoco
import numpy as np

from envs.continual.perturb import Perturbation, find_plan
from envs.damage import Fault, Structure, structure_of
from envs.damaged.perturbed import keep_inertia, perturb, perturbed_bodies, release_total_mass
from envs.damaged.robots import Robot

REMAINS_MASS = 1e-6  # kg per geom of a removed limb; its joints keep their armature


class Edit(NamedTuple):
    """Arrays of the model by field, and the one solver statistic that depends on the masses."""

    arrays: dict[str, np.ndarray]
    mean_inertia: float


class Applier:
    """Breaks and mends one model.

    :param path: the model's XML file
    :param perturbation: what is different about the model, broken or not
    :param fidelity: "corrected" or "original", see `envs.continual.perturb`
    """

    def __init__(self, robot: Robot, path: str, perturbation: Perturbation, fidelity: str) -> None:
        self.robot = robot
        self.path = path
        self.perturbation = perturbation
        self.fidelity = fidelity
        self.model = self._spec().compile()
        if fidelity == "original" and perturbation.bodies:
            self._usual = self._file().compile()
            self._heavier = perturbed_bodies(self.model, find_plan(robot.anatomy.robot), perturbation)
            keep_inertia(self.model, self._usual, self._heavier)
        self.locks = {joint: self.model.equality(_lock(joint)).id for joint in robot.joints}
        self.joint_ids = {joint: self.model.joint(name).id for joint, name in robot.joints.items()}
        self.actuators = {joint: np.flatnonzero(self.model.actuator_trnid[:, 0] == i) for joint, i in self.joint_ids.items()}
        self._intact: dict[str, np.ndarray] = {}
        self._mean_inertia = float(self.model.stat.meaninertia)
        self._edits: dict[Structure, Edit] = {}
        self._changed: set[str] = set()

    def prepare(self, faults: Iterable[Fault]) -> None:
        """Compile what these faults need by themselves, so that none is compiled during an episode."""
        self._edit(structure_of(faults))

    def apply(self, faults: tuple[Fault, ...], data: Any) -> None:
        """Make exactly these faults true of the model."""
        model = self.model
        edit = self._edit(structure_of(faults))
        gear = self._keep("actuator_gear").copy()
        for fault in faults:
            factor = {"weaken": fault.value, "slack": 0.0}.get(fault.kind)
            for joint in self._joints_of(fault):
                gear[self.actuators[joint]] *= 0.0 if fault.kind == "remove" else 1.0 if factor is None else factor
        for name in self._changed - edit.arrays.keys():
            getattr(model, name)[...] = self._intact[name]
        for name, values in edit.arrays.items():
            getattr(model, name)[...] = values
        model.stat.meaninertia = edit.mean_inertia
        model.actuator_gear[...] = gear
        self._changed = set(edit.arrays)
        locked = {fault.part for fault in faults if fault.kind == "lock"}
        for joint, i in self.locks.items():
            if joint in locked and not data.eq_active[i]:
                address = model.jnt_qposadr[self.joint_ids[joint]]
                model.eq_data[i, 0] = data.qpos[address] - model.qpos0[address]
            data.eq_active[i] = joint in locked

    def _joints_of(self, fault: Fault) -> tuple[str, ...]:
        """Joints that the fault takes torque from."""
        if fault.kind == "remove":
            return tuple(part for part in self.robot.anatomy.limbs[fault.part] if part in self.robot.joints)
        return (fault.part,) if fault.kind in ("weaken", "slack") else ()

    def _keep(self, name: str) -> np.ndarray:
        """The intact values of a field."""
        if name not in self._intact:
            self._intact[name] = getattr(self.model, name).copy()
        return self._intact[name]

    def _edit(self, faults: Structure) -> Edit:
        if not faults:
            return Edit({}, self._mean_inertia)
        if faults not in self._edits:
            spec = self._spec()
            release_total_mass(spec)
            removed: list[str] = []
            for fault in faults:
                if fault.kind == "remove":
                    removed += _remove(spec.geom(self.robot.geoms[fault.part][0]).parent)
                else:
                    assert fault.value is not None
                    for geom in self.robot.geoms[fault.part]:
                        _shorten(spec.geom(geom), fault.value, self.model)
            edited = spec.compile()
            if self.fidelity == "original" and self.perturbation.bodies:
                whole = np.isclose(edited.body_mass, self.model.body_mass, rtol=1e-9)
                keep_inertia(edited, self._usual, [body for body in self._heavier if whole[body]])
            for geom in removed:  # not in `spec`: the compiler would leave them out of the collision trees
                edited.geom(geom).contype = edited.geom(geom).conaffinity = 0
            arrays = {}
            for name in _array_fields(edited):
                if not np.array_equal(getattr(edited, name), self._keep(name)):
                    arrays[name] = getattr(edited, name).copy()
            self._edits[faults] = Edit(arrays, float(edited.stat.meaninertia))
        return self._edits[faults]

    def _spec(self) -> Any:
        """The perturbed model, whole."""
        spec = self._file()
        if self.perturbation.changes_physics:
            perturb(spec, find_plan(self.robot.anatomy.robot), self.perturbation, self.fidelity)
        return spec

    def _file(self) -> Any:
        """The model of the file with an inactive lock on every joint."""
        spec = mujoco.MjSpec.from_file(self.path)
        for joint, name in self.robot.joints.items():
            lock = spec.add_equality(
                name=_lock(joint),
                type=mujoco.mjtEq.mjEQ_JOINT,
                objtype=mujoco.mjtObj.mjOBJ_JOINT,
                name1=name,
                active=False,
            )
            lock.solref[:2] = 2 * spec.option.timestep, 1.0  # as stiff as is stable
            lock.solimp[:3] = 0.99, 0.999, 1e-3
        return spec


def _lock(joint: str) -> str:
    return f"lock_{joint}"


def _remove(body: Any) -> list[str]:
    """Make a body and all that hangs on it weightless and invisible; the names of its geoms."""
    names = []
    for geom in body.geoms:
        geom.mass = REMAINS_MASS
        geom.material = ""
        geom.rgba[3] = 0.0
        names.append(geom.name)
    return names + [name for child in body.bodies for name in _remove(child)]


def _shorten(geom: Any, factor: float, intact: Any) -> None:
    """Bring the far end of a capsule nearer to the joint it hangs on, and with it all that is attached there. A sphere (the
    humanoid's foot) has no length: its radius shrinks."""
    body = geom.parent
    if geom.type == mujoco.mjtGeom.mjGEOM_SPHERE:
        geom.size[0] *= factor
        return
    compiled = intact.geom(geom.name)
    axis = np.zeros(3)
    mujoco.mju_rotVecQuat(axis, np.array([0.0, 0.0, 1.0]), compiled.quat)
    ends = [compiled.pos + sign * compiled.size[1] * axis for sign in (-1.0, 1.0)]
    anchor = np.array(body.joints[0].pos) if len(body.joints) else np.zeros(3)
    near, far = sorted(ends, key=lambda end: float(np.linalg.norm(end - anchor)))
    moved = (factor - 1.0) * (far - near)
    if np.isnan(geom.fromto[0]):  # the compiler wants a geom to stay in the form that it was given in
        geom.pos = near + factor * (geom.pos - near)
        geom.size[1] *= factor
    else:
        geom.fromto[:] = [*near, *(far + moved)]
    for other in body.geoms:
        if other.name != geom.name and np.linalg.norm(other.pos - far) < np.linalg.norm(other.pos - near):
            other.pos = other.pos + moved
    for child in body.bodies:
        child.pos = child.pos + moved


def _array_fields(model: Any) -> list[str]:
    """Numeric arrays of a model that simulation or drawing may depend on."""
    names = [name for name in dir(model) if not name.startswith(("_", "name", "key_", "text", "path"))]
    return [name for name in names if isinstance(getattr(model, name), np.ndarray)]
