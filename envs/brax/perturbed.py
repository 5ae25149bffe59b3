"""Brax tasks with a perturbation: another system, built once on the host, and masks of actions and observations."""

import copy
import functools
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs.brax.bodies_v2 import unscaled
from envs.brax.imports import import_v2, quiet
from envs.brax.tasks import TASKS, BraxTask, TaskState
from envs.continual.perturb import Perturbation, find_plan, parse_perturbation
from envs.continual.robots import Part, Plan
from envs.damaged.perturbed import keep_inertia, perturb, perturbed_bodies

# Further sensors in the order of the observation, and how many numbers they have.
SENSES: dict[tuple[str, bool], dict[str, int]] = {  # (task, whether the physics is v1)
    ("ant", True): {"contact_forces": 60},
    ("humanoid", True): {"inertias": 99, "body_velocities": 66, "actuator_forces": 30},
    ("humanoid", False): {"inertias": 110, "body_velocities": 66, "actuator_forces": 23},
}


class PerturbedTask(BraxTask):
    """A robot with something different about it; made by `make_task`.

    Actions are scaled before the step, so that the control cost is that of the scaled ones; observations are masked after it.
    """

    def __init__(self, intact: BraxTask, perturbation: Perturbation, fidelity: str) -> None:
        self.perturbation = perturbation
        self.fidelity = fidelity
        self.name, self.physics, self.max_episode_steps = intact.name, intact.physics, intact.max_episode_steps
        self.reward, self.dt = intact.reward, intact.dt
        self.observation_size, self.action_size = intact.observation_size, intact.action_size
        plan = find_plan(self.name)
        self.env = copy.copy(intact.env)
        if perturbation.changes_physics:
            change = _system_v1 if self.physics == "v1" else _system_v2
            self.env.sys = change(intact.env, plan, perturbation, fidelity)
        model = None if self.physics == "v1" else self.env.sys.mj_model
        layout = _layout(self.name, plan, model)
        self._gains = perturbation.gains(_actuated(plan, model)).astype(np.float32)
        self._hidden = perturbation.hidden(layout, self.observation_size)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, perturbation='{self.perturbation}', fidelity={self.fidelity!r})"

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        return super().step(state, jnp.clip(action, -1.0, 1.0) * self._gains)

    def _wrap(self, state: Any) -> TaskState:
        new = super()._wrap(state)
        return new._replace(obs=jnp.where(self._hidden, 0.0, new.obs)) if self.perturbation.masked else new


def make_perturbed(intact: BraxTask, description: Any, fidelity: str) -> BraxTask:
    """The task with a perturbation (see `envs.continual.perturb`); `intact` itself if nothing is different. ValueError if it
    makes no sense, or for a robot that cannot be perturbed."""
    perturbation = parse_perturbation(description, TASKS[intact.name])
    return intact if perturbation == Perturbation() else _cached_task(intact, perturbation, fidelity)


@functools.cache
def _cached_task(intact: BraxTask, perturbation: Perturbation, fidelity: str) -> PerturbedTask:
    return PerturbedTask(intact, perturbation, fidelity)


def _ordered(plan: Plan, model: Any) -> list[str]:
    """Joints in the order of their angles in a MuJoCo model."""
    addresses = {joint: int(model.joint(name).qposadr[0]) for joint, name in plan.robot.joints.items()}
    return sorted(addresses, key=lambda joint: addresses[joint])


def _actuated(plan: Plan, model: Any | None) -> list[str]:
    """Joints in the order of the actions; without a model, those of Brax v1."""
    if model is None:
        return list(plan.joints_v1)
    names = {name: joint for joint, name in plan.robot.joints.items()}
    return [names[model.joint(i).name] for i in model.actuator_trnid[:, 0]]


def _layout(task: str, plan: Plan, model: Any | None) -> dict[str, np.ndarray]:
    """Where each channel is in the observation; without a model, in that of Brax v1."""
    joints = plan.joints_v1 if model is None else _ordered(plan, model)
    orientation = 4 if not plan.planar else 2 if task == "halfcheetah" and model is None else 1
    return plan.layout(joints, orientation, SENSES.get((task, model is None), {}))


def _system_v1(env: Any, plan: Plan, perturbation: Perturbation, fidelity: str) -> Any:
    """Brax v1's system from an edited configuration.

    Friction of a contact is the product of its two sides, all of which have the factor. A body's moment of inertia follows
    its mass if corrected, and its capsule is then no shorter than it is wide.
    """
    original = fidelity == "original"
    config = copy.deepcopy(env.sys.config)
    for joint in config.joints:  # the system pads them to three axes, and would count the padding as axes
        while joint.angle_limit[-1].min == joint.angle_limit[-1].max == 0:
            del joint.angle_limit[-1]
    config.gravity.z *= perturbation.gravity
    friction = perturbation.friction if original else perturbation.friction**0.5
    config.friction *= friction
    for body in config.bodies:
        for collider in body.colliders:
            collider.material.friction *= friction
    bodies = {body.name: body for body in config.bodies}
    heavier: dict[str, float] = {}
    for name, factor in dict(perturbation.bodies).items():
        part = plan.parts[name]
        heavier[part.body] = heavier.get(part.body, 1.0) + (factor - 1.0) * _share(bodies[part.body], part)
    for name, factor in dict(perturbation.bodies).items():
        part = plan.parts[name]
        if part.grown is not None:
            capsule = bodies[part.body].colliders[part.grown].capsule
            capsule.radius *= factor
            if not original:
                capsule.length = max(capsule.length, 2 * capsule.radius)
    for name, factor in heavier.items():
        bodies[name].mass *= factor
        if not original:
            inertia = bodies[name].inertia
            inertia.x, inertia.y, inertia.z = factor * inertia.x, factor * inertia.y, factor * inertia.z
    with quiet():
        return type(env.sys)(config)


def _share(body: Any, part: Part) -> float:
    """The part's share of its body's volume."""
    capsules = [collider.capsule for collider in body.colliders]
    volumes = [c.radius**2 * (c.length - 2 * c.radius + 4 / 3 * c.radius) for c in capsules]
    return sum(volumes[i] for i in part.colliders) / sum(volumes)


def _system_v2(env: Any, plan: Plan, perturbation: Perturbation, fidelity: str) -> Any:
    """Current Brax's system: that of the environment, with the arrays in which the perturbed model differs from the file's.

    Spring and positional physics take a power of the masses and moments of inertia in the file, which in the ant leaves
    nothing of them; there the factors are those of what they make of it.
    """
    file = type(env).__module__.rsplit(".", 1)[-1]
    usual, changed = _load(file, plan), _load(file, plan, perturbation, fidelity)
    maximal = env.backend in ("spring", "positional") and bool(perturbation.bodies)
    system = unscaled(env.sys) if maximal else env.sys
    leaves, tree = jax.tree.flatten(system)
    pairs = zip(leaves, jax.tree.leaves(usual), jax.tree.leaves(changed), strict=True)
    new = jax.tree.unflatten(tree, [own if np.array_equal(a, b) else b for own, a, b in pairs])
    if maximal:
        scaled = jax.tree.map(_in_proportion, system.link.inertia, usual.link.inertia, changed.link.inertia)
        inertia = new.link.inertia.replace(mass=scaled.mass, i=scaled.i)
        new = new.replace(link=new.link.replace(inertia=inertia))
    return new.replace(mj_model=changed.mj_model)


def _in_proportion(own: jax.Array, usual: jax.Array, changed: jax.Array) -> jax.Array:
    return own * jnp.where(usual == 0, 1.0, changed / jnp.where(usual == 0, 1.0, usual))


def _load(file: str, plan: Plan, perturbation: Perturbation | None = None, fidelity: str = "corrected") -> Any:
    """The system of one of Brax's files, without what the environment of each physics changes."""
    import_v2()
    from brax.io import mjcf
    from etils import epath

    with quiet():
        xml = mjcf.fuse_bodies((epath.resource_path("brax") / f"envs/assets/{file}.xml").read_text())
        spec = mujoco.MjSpec.from_string(xml)
        usual = spec.compile()
        if perturbation is None:
            return mjcf.load_model(usual)
        perturb(spec, plan, perturbation, fidelity)
        model = spec.compile()
        if fidelity == "original" and perturbation.bodies:
            keep_inertia(model, usual, perturbed_bodies(model, plan, perturbation))
        return mjcf.load_model(model)
