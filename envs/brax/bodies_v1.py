"""The damaged bodies of `brax.v1`'s ant."""

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.brax.bodies import UNTOUCHABLE, Bodies, Condition, differing
from envs.brax.imports import quiet
from envs.damage import Fault, Structure
from envs.damaged.robots import ANT_LEGS


class BodiesV1(Bodies):
    """See `Bodies`. A thigh hangs on the torso: there is no fixed upper part of a leg.

    Whatever moves a removed limb does not move what it hung on, so the rest moves exactly as without it. A locked joint has
    no range and no torque, and its corrections and damping are twice as strong: Brax's constraints are soft.
    """

    def __init__(self, env: Any, structures: tuple[Structure, ...], locks: bool) -> None:
        super().__init__(env, structures, locks)
        self._systems = [_system(env.sys, structure) for structure in structures]
        self._arrays = differing([_arrays(system) for system in self._systems])
        joints = [system.joints[0] for system in self._systems]
        self._at_parent = jnp.stack([j.off_p for j in joints])  # (V, 8, 3)
        self._at_child = jnp.stack([j.off_c for j in joints])

    def system(self, body: int) -> Any:
        return self._systems[body]

    def under(self, condition: Condition) -> Any:
        env = copy.copy(self.env)
        picked = {i: stack[condition.body] for i, stack in self._arrays.items()}
        env.sys = _rebuild(self.env.sys, lambda i, array: picked.get(i, array))
        (actuator,), (joints,) = env.sys.actuators, env.sys.joints
        actuator.strength = actuator.strength * condition.gains
        if self.locks:
            actuator.strength = jnp.where(condition.locked, 0.0, actuator.strength)
            held = jnp.broadcast_to(condition.angles[:, None, None], joints.limit.shape)
            joints.limit = jnp.where(condition.locked[:, None, None], held, joints.limit)
            firmness = jnp.where(condition.locked, 2.0, 1.0)
            joints.scale_ang, joints.angular_damping = firmness * joints.scale_ang, firmness * joints.angular_damping
        return env

    def angles(self, physics: Any) -> jax.Array:
        return self.env.sys.joints[0].angle_vel(physics.qp)[0]

    def change(self, physics: Any, old: Condition, new: Condition) -> Any:
        """A limb stays at its joint, and what hangs on it moves along; angles and their velocities stay."""
        from brax.v1 import math

        qp = physics.qp
        pos, vel = qp.pos, qp.vel
        joints = self.env.sys.joints[0]
        parents, children = np.asarray(joints.body_p.idx), np.asarray(joints.body_c.idx)
        longer_p = self._at_parent[new.body] - self._at_parent[old.body]
        longer_c = self._at_child[new.body] - self._at_child[old.body]
        for i in np.argsort(parents, kind="stable"):  # hips before ankles
            parent, child = parents[i], children[i]
            arm_p, arm_c = math.rotate(longer_p[i], qp.rot[parent]), math.rotate(longer_c[i], qp.rot[child])
            moved = pos[parent] - qp.pos[parent] + arm_p - arm_c
            faster = vel[parent] - qp.vel[parent] + jnp.cross(qp.ang[parent], arm_p) - jnp.cross(qp.ang[child], arm_c)
            pos, vel = pos.at[child].add(moved), vel.at[child].add(faster)
        return physics.replace(qp=qp.replace(pos=pos, vel=vel))

    def observe(self, physics: Any, condition: Condition) -> jax.Array:
        env = self.under(condition)
        return env._get_obs(physics.qp, env.sys.info(physics.qp))


def _system(intact: Any, structure: Structure) -> Any:
    if not structure:
        return intact
    config = copy.deepcopy(intact.config)
    for fault in structure:
        _edit(config, fault)
    with quiet():
        system = type(intact)(config)
    for fault in structure:
        if fault.kind == "remove":
            _let_go(system, fault)
    return system


def _edit(config: Any, fault: Fault) -> None:
    """Hide or shorten the segments of a limb. Their mass goes with their volume; their moment of inertia stays at the
    1 kg m^2 that the file gives to everything, from the torso to the feet, and that the stiff joints need."""
    joints = {joint.name: joint for joint in config.joints}
    bodies = {body.name: body for body in config.bodies}
    number, segments = _segments(fault)
    for segment in segments:
        inner = joints[f"{segment}_{number}"]
        body = bodies[inner.child]
        (collider,) = body.colliders
        if fault.value is None:
            collider.hidden = True
            continue
        capsule = collider.capsule
        length, caps = capsule.length - 2 * capsule.radius, 4 / 3 * capsule.radius
        body.mass *= (fault.value * length + caps) / (length + caps)
        capsule.length = fault.value * length + 2 * capsule.radius
        outer = [joint.parent_offset for joint in config.joints if joint.parent == inner.child]
        for offset in (inner.child_offset, *outer):
            offset.x, offset.y, offset.z = (fault.value * x for x in (offset.x, offset.y, offset.z))


def _let_go(system: Any, fault: Fault) -> None:
    """Have a removed limb hang on something that it cannot move, and take its foot off the ground."""
    number, segments = _segments(fault)
    for joints in (system.joints[0], system.actuators[0].joint):
        i = joints.index[f"{segments[0]}_{number}"]
        joints.body_p.mass = jnp.asarray(joints.body_p.mass).at[i].set(jnp.inf)
        joints.body_p.inertia = jnp.asarray(joints.body_p.inertia).at[i].set(0.0)  # Brax keeps the inverse under this name
    joints = system.joints[0]
    foot = joints.body_c.idx[joints.index[f"ankle_{number}"]]
    for collider in system.colliders:
        capsule = collider.cull.col_a
        capsule.radius = jnp.where(capsule.body.idx == foot, UNTOUCHABLE, capsule.radius)


def _segments(fault: Fault) -> tuple[int, tuple[str, ...]]:
    """Number of the leg, and its segments that are shortened or removed by the joints they hang on."""
    leg, limb = fault.part.rsplit("_", 1)
    number = next(number for name, number, _ in ANT_LEGS if name == leg)
    if limb == "foot":
        return number, ("ankle",)
    return number, ("hip",) if limb == "thigh" and fault.kind == "shorten" else ("hip", "ankle")


def _arrays(system: Any) -> list[Any]:
    """The arrays of a system in a fixed order; `jax.tree` does not see those of the collision shapes."""
    found: list[Any] = []
    _rebuild(system, lambda _, array: found.append(array))
    return found


def _rebuild(system: Any, replace: Callable[[int, Any], Any]) -> Any:
    """A copy with every array as `replace(number, array)` says."""
    count = iter(range(10**6))

    def copied(x: Any) -> Any:
        if isinstance(x, jax.Array | np.ndarray):
            return replace(next(count), x)
        if isinstance(x, list | tuple):
            return type(x)([copied(item) for item in x])
        module = type(x).__module__
        # flax's frozen dataclasses (`base`) are what states are made of, and no part of the robot
        if not module.startswith("brax.v1.physics") or module.endswith((".base", ".config_pb2")) or not hasattr(x, "__dict__"):
            return x
        new = copy.copy(x)
        for name, value in vars(x).items():
            setattr(new, name, copied(value))
        return new

    return copied(system)
