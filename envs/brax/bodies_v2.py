"""The damaged bodies of the ant of current Brax: generalized, spring, positional and MJX physics."""

import copy
import functools
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.brax.bodies import UNTOUCHABLE, Bodies, Condition, differing
from envs.brax.imports import import_v2
from envs.damage import Structure
from envs.damaged.robots import ANT

REMAINS = 1e-6  # how much less a removed limb weighs and pulls
LOCK_INERTIA = 1e6  # kg m^2; a leg of the ant has 0.1, and the rotors of its joints 1
JOINTS = 8


class BodiesV2(Bodies):
    """See `Bodies`.

    Removed limbs have a millionth of their mass. Spring and positional physics know no masses (Brax scales them to 1 kg for
    every body), but have springs and dampers; there these are weakened along. A locked joint has no torque, and: under
    generalized and MJX physics a rotor that nothing turns, under spring and positional physics no range, and stiffer springs
    and dampers.
    """

    def __init__(self, env: Any, structures: tuple[Structure, ...], locks: bool) -> None:
        super().__init__(env, structures, locks)
        self.maximal = env.backend in ("spring", "positional")
        self._leaves, self._tree = jax.tree.flatten(unscaled(env.sys) if self.maximal else env.sys)
        self._stacks = differing([jax.tree.leaves(_system(structure, self.maximal)) for structure in structures])
        model = env.sys.mj_model
        names = [model.joint(i).name for i in model.actuator_trnid[:, 0]]
        joints = list(ANT.joints.values())  # in the order of the anatomy
        self._joint_of = np.array([joints.index(name) for name in names])  # of each actuator

    def system(self, body: int) -> Any:
        return _system(self.structures[body], self.maximal)

    def under(self, condition: Condition) -> Any:
        leaves = list(self._leaves)
        for i, stack in self._stacks.items():
            leaves[i] = stack[condition.body]
        system = jax.tree.unflatten(self._tree, leaves)
        gains = condition.gains
        if self.locks:
            gains = jnp.where(condition.locked, 0.0, gains)
            system = self._lock(system, condition)
        gains = gains[self._joint_of]
        env = copy.copy(self.env)
        env.sys = system.replace(
            actuator=system.actuator.replace(gear=system.actuator.gear * gains),
            actuator_gear=system.actuator_gear * gains[:, None],  # the one that MJX reads
        )
        return env

    def _lock(self, system: Any, condition: Condition) -> Any:
        locked = jnp.concatenate([jnp.zeros(6, bool), condition.locked])
        if not self.maximal:
            rotors = jnp.where(locked, LOCK_INERTIA, system.dof_armature)  # the same in both places
            return system.replace(dof_armature=rotors, dof=system.dof.replace(armature=rotors))
        at = jnp.concatenate([jnp.zeros(6), condition.angles])
        low, high = (jnp.where(locked, at, limit) for limit in system.dof.limit)
        link = system.link
        stiffness = jnp.where(locked[5:], link.constraint_stiffness, link.constraint_limit_stiffness)
        damping = jnp.where(locked[5:], 2 * link.constraint_ang_damping, link.constraint_ang_damping)
        return system.replace(
            dof=system.dof.replace(limit=(low, high)),
            link=link.replace(constraint_limit_stiffness=stiffness, constraint_ang_damping=damping),
        )

    def angles(self, physics: Any) -> jax.Array:
        return physics.pipeline_state.q[-JOINTS:]

    def change(self, physics: Any, old: Condition, new: Condition) -> Any:
        """Angles and their velocities stay; a joint stops when it is locked."""
        changed = (old.body != new.body) | jnp.any(old.locked != new.locked)
        state = physics.pipeline_state
        qd = state.qd.at[-JOINTS:].multiply(~(new.locked & ~old.locked))
        fresh = self.under(new).pipeline_init(state.q, qd)
        return physics.replace(pipeline_state=jax.tree.map(lambda a, b: jnp.where(changed, a, b), fresh, state))

    def observe(self, physics: Any, condition: Condition) -> jax.Array:
        return self.env._get_obs(physics.pipeline_state)


@functools.cache
def _system(structure: Structure, maximal: bool) -> Any:
    """The system with such a body, without what the environment of each physics changes.

    :param maximal: for spring and positional physics
    """
    import_v2()
    from brax.io import mjcf
    from etils import epath

    tree = ET.fromstring((epath.resource_path("brax") / "envs/assets/ant.xml").read_text())
    for fault in structure:
        if fault.value is None:
            _lighten(tree, ANT.geoms[fault.part][0])
        else:
            for geom in ANT.geoms[fault.part]:
                _shorten(tree, geom, fault.value)
    system = mjcf.loads(ET.tostring(tree, encoding="unicode"))
    if maximal:
        system = unscaled(system)
    for fault in structure:
        if fault.kind == "remove":
            system = _let_go(system, fault.part, maximal)
    return system


def _lighten(tree: ET.Element, name: str) -> None:
    """Make a capsule weightless and invisible, and all that hangs on it."""
    body = tree.find(f".//body/geom[@name='{name}']/..")
    assert body is not None
    for geom in body.iter("geom"):
        geom.set("rgba", "0 0 0 0")
        if "mass" not in geom.attrib:
            geom.set("density", f"{5.0 * REMAINS}")


def _shorten(tree: ET.Element, name: str, factor: float) -> None:
    """Bring the far end of a capsule nearer to the joint it hangs on, and with it all that is there."""
    body = tree.find(f".//body/geom[@name='{name}']/..")
    capsule = tree.find(f".//geom[@name='{name}']")
    assert body is not None
    assert capsule is not None
    near, far = _numbers(capsule, "fromto").reshape(2, 3)
    end = near + factor * (far - near)
    capsule.set("fromto", _text([*near, *end]))
    for other in (*body.findall("body"), *(geom for geom in body.findall("geom") if geom is not capsule)):
        other.set("pos", _text(_numbers(other, "pos") + end - far))


def _let_go(system: Any, limb: str, maximal: bool) -> Any:
    """Take a removed limb's foot off the ground and, if the masses are not those of the file, make it weak."""
    leg, segment = limb.rsplit("_", 1)
    thigh, foot = (system.mj_model.geom(geom).bodyid[0] for geom in ANT.geoms[f"{leg}_leg"][1:])
    on_foot = system.mj_model.geom_bodyid == foot
    system = system.replace(geom_size=jnp.where(on_foot[:, None], UNTOUCHABLE, system.geom_size))
    if not maximal:
        return system
    links = np.array([foot] if segment == "foot" else [thigh, foot]) - 1
    return system.replace(link=_weaken(system.link, links))


def unscaled(system: Any) -> Any:
    """The same physics with the masses that spring and positional physics make of the given ones."""
    inertia = system.link.inertia
    diagonal = jax.vmap(jnp.diagonal)(inertia.i) ** (1 - system.spring_inertia_scale)
    inertia = inertia.replace(mass=inertia.mass ** (1 - system.spring_mass_scale), i=jax.vmap(jnp.diag)(diagonal))
    nothing = jnp.zeros_like(system.spring_mass_scale)
    return system.replace(link=system.link.replace(inertia=inertia), spring_mass_scale=nothing, spring_inertia_scale=nothing)


def _weaken(link: Any, gone: np.ndarray) -> Any:
    """Scale masses, springs and dampers of links by the same factor: they move alike, and pull less."""

    def weaker(x: jax.Array) -> jax.Array:
        return x.at[gone].multiply(REMAINS)

    inertia = link.inertia.replace(mass=weaker(link.inertia.mass), i=weaker(link.inertia.i))
    return link.replace(
        inertia=inertia,
        constraint_stiffness=weaker(link.constraint_stiffness),
        constraint_vel_damping=weaker(link.constraint_vel_damping),
        constraint_limit_stiffness=weaker(link.constraint_limit_stiffness),
        constraint_ang_damping=weaker(link.constraint_ang_damping),
    )


def _numbers(element: ET.Element, name: str) -> np.ndarray:
    return np.array(element.attrib[name].split(), dtype=float)


def _text(values: Iterable[float]) -> str:
    return " ".join(f"{value:.17g}" for value in values)
