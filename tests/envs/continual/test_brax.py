"""Perturbations of Brax's robots: in their systems, and in what these do."""

import functools
import warnings
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from envs.brax.gym import BraxEnv
from envs.brax.tasks import PHYSICS, BraxTask, make_task
from envs.brax.vec_env import BraxVecEnv
from envs.continual.robots import PLANS
from trainers.make_env import make_vec_env

LEGS = {"front_left": (1, 1), "rear_left": (-1, 1), "rear_right": (-1, -1), "front_right": (1, -1)}
LATER = PHYSICS[1:]
SOME = ["v1", *(pytest.param(p, marks=[] if p == "spring" else [pytest.mark.slow]) for p in LATER)]

# As published: every body of Brax v1 whose name contains the key has the factor.
PUBLISHED: dict[tuple[str, str], tuple[float, float, dict[str, float]]] = {  # gravity, friction, bodies
    ("HalfCheetah", "hugefoot"): (1, 1, {"foot": 1.5}),
    ("HalfCheetah", "tinyfoot"): (1, 1, {"foot": 0.5}),
    ("HalfCheetah", "moon"): (0.15, 1, {}),
    ("HalfCheetah", "rainfall"): (1, 0.4, {}),
    ("HalfCheetah", "carry_stuff"): (1, 1, {"torso": 4.0}),
    ("HalfCheetah", "carry_stuff_hugegravity"): (1.5, 1, {"torso": 4.0}),
    ("HalfCheetah", "hugefoot_rainfall"): (1, 0.4, {"foot": 1.5}),
    ("HalfCheetah", "tinyfoot_moon"): (0.15, 1, {"foot": 0.5}),
    ("Ant", "hugefoot"): (1, 1, {"Body": 1.5}),
    ("Ant", "moon"): (0.7, 1, {}),
    ("Ant", "rainfall"): (1, 0.375, {}),
    ("Humanoid", "moon"): (0.15, 1, {}),
    ("Humanoid", "carrystuff"): (1, 1, {"torso": 4.0, "lwaist": 4.0}),
    ("Humanoid", "tinyfeet"): (1, 1, {"shin": 0.5}),
}


def _published(robot: str, preset: str, name: str) -> float:
    bodies = PUBLISHED[robot, preset][2]
    return next((factor for key, factor in bodies.items() if key in name), 1.0)


@pytest.mark.parametrize(("robot", "preset"), PUBLISHED)
def test_the_original_is_exactly_what_was_published(robot: str, preset: str) -> None:
    gravity, friction, _ = PUBLISHED[robot, preset]
    usual = make_task(robot).env.sys.config
    expected = type(usual)()
    expected.CopyFrom(usual)
    expected.gravity.z *= gravity
    expected.friction *= friction
    for body in expected.bodies:
        factor = _published(robot, preset, body.name)
        body.mass *= factor
        if body.colliders and factor != 1:
            body.colliders[-1 if robot == "Humanoid" else 0].capsule.radius *= factor
        for collider in body.colliders:
            collider.material.friction *= friction
    task = make_task(robot, perturbation=preset, fidelity="original")
    for made, wanted in zip(task.env.sys.config.bodies, expected.bodies, strict=True):
        assert made.mass == pytest.approx(wanted.mass, rel=1e-6)
        made.mass = wanted.mass
    assert task.env.sys.config == expected
    np.testing.assert_allclose(task.env.sys.body.mass, [body.mass for body in expected.bodies], rtol=1e-6)
    shapes = jax.eval_shape(task.step, jax.eval_shape(task.reset, jax.random.key(0)), np.zeros(task.action_size))
    assert shapes.obs.shape == (task.observation_size,)
    assert task.env.action_size == task.action_size


@pytest.mark.parametrize(("robot", "preset"), PUBLISHED)
def test_the_corrected_has_the_inertia_and_the_friction(robot: str, preset: str) -> None:
    _, friction, _ = PUBLISHED[robot, preset]
    usual, corrected, original = (
        make_task(robot, perturbation=perturbation, fidelity=fidelity).env.sys
        for perturbation, fidelity in ((None, "corrected"), (preset, "corrected"), (preset, "original"))
    )
    factors = [_published(robot, preset, body.name) for body in usual.config.bodies]
    np.testing.assert_allclose(corrected.body.mass, original.body.mass)
    np.testing.assert_allclose(corrected.body.inertia, usual.body.inertia / np.array(factors)[:, None], rtol=1e-6)
    np.testing.assert_array_equal(original.body.inertia, usual.body.inertia)  # both are the inverse
    np.testing.assert_array_equal(corrected.config.gravity.z, original.config.gravity.z)

    def contacts(system: Any) -> np.ndarray:
        return np.concatenate([np.ravel(c.cull.col_a.friction * c.cull.col_b.friction) for c in system.colliders])

    np.testing.assert_allclose(contacts(corrected), friction * contacts(usual), rtol=1e-6)
    np.testing.assert_allclose(contacts(original), friction**2 * contacts(usual), rtol=1e-6)


def _leaves(system: Any) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(k): np.asarray(x, float) for k, x in jax.tree_util.tree_leaves_with_path(system)}


def _effective(system: Any) -> tuple[np.ndarray, np.ndarray]:
    """Masses and moments of inertia that spring and positional physics make of those of the links."""
    inertia = system.link.inertia
    diagonal = np.diagonal(np.asarray(inertia.i), axis1=1, axis2=2)
    mass = np.asarray(inertia.mass) ** (1 - float(system.spring_mass_scale))
    return mass, diagonal ** (1 - float(system.spring_inertia_scale))


@pytest.mark.parametrize("physics", LATER)
@pytest.mark.parametrize(("robot", "preset"), PUBLISHED)
def test_later_physics_have_the_factors(robot: str, preset: str, physics: str) -> None:
    gravity, friction, bodies = PUBLISHED[robot, preset]
    usual = make_task(robot, physics).env.sys
    old = _leaves(usual)
    factors = []
    for i in range(1, usual.mj_model.nbody):
        name = usual.mj_model.body(i).name
        lower_leg = robot == "Ant" and not name  # the file does not name them
        factors.append(bodies.get("Body", 1.0) if lower_leg else _published(robot, preset, name))
    for fidelity in ("corrected", "original"):
        system = make_task(robot, physics, perturbation=preset, fidelity=fidelity).env.sys
        new = _leaves(system)
        changed = {name for name in old if not np.allclose(new[name], old[name], rtol=1e-5, atol=1e-12)}
        if not bodies:
            assert changed == ({".gravity", ".opt.gravity"} if gravity != 1 else {".geom_friction"})
        np.testing.assert_allclose(new[".gravity"], gravity * old[".gravity"], rtol=1e-6)
        np.testing.assert_allclose(new[".opt.gravity"], gravity * old[".opt.gravity"], rtol=1e-6)
        expected = friction if fidelity == "corrected" else friction**2
        np.testing.assert_allclose(new[".geom_friction"][:, 0], expected * old[".geom_friction"][:, 0], rtol=1e-6)
        np.testing.assert_allclose(new[".body_mass"][1:], np.array(factors) * old[".body_mass"][1:], rtol=1e-5)
        for name in (".opt.timestep", ".actuator.gear", ".init_q", ".dof.limit[0]"):
            np.testing.assert_array_equal(new[name], old[name])
        maximal = physics in ("spring", "positional")
        masses = [_effective(s) if maximal else (s.link.inertia.mass, s.link.inertia.i) for s in (usual, system)]
        np.testing.assert_allclose(masses[1][0], np.array(factors) * np.asarray(masses[0][0]), rtol=1e-5)
        same = np.array([np.allclose(a, b, rtol=1e-5) for a, b in zip(masses[0][1], masses[1][1], strict=True)])
        assert (same == (np.array(factors) == 1 if fidelity == "corrected" else True)).all()


def test_equal_descriptions_are_one_task_and_normal_is_the_untouched_one() -> None:
    assert make_task("ant", perturbation="normal", fidelity="original") is make_task("ant")
    assert type(make_task("ant")) is BraxTask
    moon = make_task("ant", perturbation="moon")
    assert make_task("Ant", perturbation={"gravity": 0.7}) is make_task("ant", perturbation=moon.perturbation) is moon
    assert make_task("ant", perturbation="moon", fidelity="original") is not moon
    assert make_task("ant", perturbation="inverted_actions+inverted_actions") is make_task("ant")


def test_it_falls_as_fast_as_gravity_says() -> None:
    system = make_task("halfcheetah", perturbation="gravity=2+body:torso=4").env.sys
    qp = system.default_qp()
    qp = qp.replace(pos=qp.pos + jnp.array([0.0, 0.0, 5.0]))
    after = jax.jit(system.step)(qp, jnp.zeros(6))[0]
    assert float(after.vel[0, 2]) == pytest.approx(-2 * 9.81 * 0.05, rel=0.05)


@functools.cache
def _kicked(physics: str, leg: str) -> tuple[BraxTask, Any, Any]:
    """One step under actions of which all but a leg's are disabled, and one without any."""
    off = "+".join(f"action:{other}_{joint}=0" for other in LEGS if other != leg for joint in ("hip", "ankle"))
    task = make_task("ant", physics, perturbation=off)
    state = task.jit_reset(jax.random.key(0))
    return task, task.jit_step(state, jnp.ones(8)), task.jit_step(state, jnp.zeros(8))


@pytest.mark.parametrize("physics", SOME)
def test_a_name_is_the_same_quadrant_under_every_physics(physics: str) -> None:
    for leg in ("front_left", "rear_right") if physics == "v1" else ("rear_left",):
        sign = LEGS[leg]
        task, moved, still = _kicked(physics, leg)
        assert float(moved.metrics["reward_ctrl"]) == pytest.approx(-0.5 * 2)
        if physics == "v1":
            here, there = moved.physics.qp, still.physics.qp
            pos, turned = here.pos, np.abs(here.rot - there.rot).sum(axis=1)
        else:
            here, there = (s.physics.pipeline_state.x for s in (moved, still))
            pos, turned = here.pos, np.abs(here.rot - there.rot).sum(axis=1)
        most = int(np.argmax(turned))
        assert tuple(np.sign(np.asarray(pos[most] - pos[0])[:2])) == sign
        angles = np.abs(np.asarray(moved.obs - still.obs))[5:13].reshape(4, 2).sum(axis=1)
        assert int(np.argmax(angles)) == list(LEGS).index(leg)  # all physics observe the legs in this order
        alone = task.jit_step(task.jit_reset(jax.random.key(0)), jnp.asarray(np.where(task._gains == 0, 1.0, 0.0)))
        np.testing.assert_array_equal(alone.obs, still.obs)


MASKS = "defective_module+action:back_foot_joint=0+action:front_thigh_joint=-0.5"


def test_actions_and_observations() -> None:
    """Against the untouched robot: the same physics under the masked actions."""
    task = make_task("halfcheetah", perturbation=MASKS)
    usual = make_task("halfcheetah")
    gains, hidden = np.array([1, 1, 0, -0.5, 1, 1], np.float32), [0, 1, 2, 5, 6, 10, 13, 14, 15]
    state, true = task.jit_reset(jax.random.key(1)), usual.jit_reset(jax.random.key(1))
    for k in range(8):
        np.testing.assert_allclose(state.obs, true.obs * ~np.isin(np.arange(18), hidden), atol=1e-4)
        np.testing.assert_allclose(state.reward, true.reward, atol=1e-4)
        action = 2 * np.sin(np.arange(6.0, dtype=np.float32) + k)
        state, true = task.jit_step(state, action), usual.jit_step(true, gains * np.clip(action, -1, 1))


@pytest.mark.slow
def test_humanoids_joints_are_where_their_names_say() -> None:
    """In Brax v1 the abdomen turns about z, y and x, in this order of the actions: a torque about y bends it in the plane."""
    system = make_task("humanoid").env.sys
    joints = PLANS["Humanoid"].joints_v1
    step = jax.jit(lambda action: system.step(system.default_qp(), action)[0].ang)
    rest = step(jnp.zeros(17))
    axes = {
        "abdomen_z": 2,
        "abdomen_y": 1,
        "right_hip_y": 1,
        "right_hip_z": 2,
        "left_hip_y": 1,
        "left_hip_z": 2,
        "left_knee": 1,
    }
    for joint, axis in axes.items():
        turned = np.abs(np.asarray(step(jnp.zeros(17).at[joints.index(joint)].set(1.0)) - rest))
        assert int(np.argmax(turned[int(np.argmax(turned.sum(axis=1)))])) == axis


def test_environments_of_gymnasium_and_sb3() -> None:
    arguments: dict[str, Any] = {"perturbation": MASKS}
    env = gymnasium.make("BraxHalfCheetah-v0", **arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gymnasium_check(env.unwrapped, skip_render_check=True)
        sb3_check(env)
    vec = BraxVecEnv("halfcheetah", 2, seed=3, **arguments)
    again = make_vec_env(env, 1, 3, {})
    assert again.task is vec.task is env.unwrapped.task
    assert make_vec_env("BraxHalfCheetah-v0", 1, 3, arguments).task is vec.task
    obs, _ = env.reset(seed=3)
    np.testing.assert_allclose(vec.reset()[0], obs, atol=1e-5)
    assert not obs[[0, 1, 2, 5, 6, 10, 13, 14, 15]].any()
    assert make_vec_env(BraxEnv("reacher"), 1, 0, {}).task is make_task("reacher")
    picture = gymnasium.make("BraxHalfCheetah-v0", render_mode="rgb_array", width=80, height=60, perturbation="carry_stuff")
    picture.reset(seed=0)
    plain = gymnasium.make("BraxHalfCheetah-v0", render_mode="rgb_array", width=80, height=60)
    plain.reset(seed=0)
    assert (picture.render() != plain.render()).any()


@pytest.mark.slow
@pytest.mark.parametrize("physics", PHYSICS)
@pytest.mark.parametrize("robot", ["HalfCheetah", "Ant", "Humanoid"])
def test_every_preset_steps(robot: str, physics: str) -> None:
    """The heaviest and the lightest changes of each robot, in one program each."""
    for preset in ("carry_stuff_hugegravity", "tinyfoot_moon", "hugefoot", "carrystuff", "tinyfeet"):
        if preset in PLANS[robot].presets:
            task = make_task(robot, physics, perturbation=preset)
            state = task.jit_reset(jax.random.key(0))
            for k in range(20):
                state = task.jit_step(state, jnp.sin(jnp.arange(float(task.action_size)) + k))
                assert np.isfinite(state.obs).all()
                assert np.isfinite(state.reward)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="Did you mean 'hugefoot'"):
        make_task("ant", perturbation="hugefeet")
    with pytest.raises(ValueError, match="Unknown fidelity 'publshed'"):
        make_task("ant", perturbation="moon", fidelity="publshed")
    with pytest.raises(ValueError, match="Reacher cannot be perturbed"):
        make_task("reacher", perturbation="moon")
    with pytest.raises(ValueError, match="damage or a perturbation, not both"):
        make_task("ant", perturbation="moon", damage="front_left_leg")
    with pytest.raises(ValueError, match="damage or a perturbation, not both"):
        BraxEnv("ant", perturbation="moon").set_damage("front_left_leg")
    with pytest.raises(ValueError, match="the observation has no 'contact_forces'"):
        make_task("ant", "spring", perturbation="mask:contact_forces")
    with pytest.raises(ValueError, match="has its own damage, reward and perturbation"):
        BraxVecEnv(make_task("ant"), perturbation="moon")
