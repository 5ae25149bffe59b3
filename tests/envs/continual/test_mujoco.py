"""Perturbations of the MuJoCo robots: in the arrays of the model, and in what it does."""

import math
import warnings
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from envs.continual.robots import PLANS

LEGS = {"front_left": (1, 1), "rear_left": (-1, 1), "rear_right": (-1, -1), "front_right": (1, -1)}
FEET = {"back_foot": "bfoot", "front_foot": "ffoot"}


def _make(robot: str = "Ant", **kwargs: Any) -> Any:
    return gymnasium.make(f"Damaged{robot}-v0", **kwargs).unwrapped


def _play(env: Any, steps: int = 60) -> np.ndarray:
    out, rng = [env.reset(seed=0)[0]], np.random.default_rng(7)
    for _ in range(steps):
        obs, reward, terminated, *_ = env.step(rng.uniform(env.action_space.low, env.action_space.high))
        out += [obs, [reward]]
        if terminated:
            out.append(env.reset()[0])
    return np.concatenate(out)


def _changed(perturbed: Any, usual: Any) -> set[str]:
    """Arrays of the models that differ, other than by rounding."""
    names = [n for n in dir(usual) if not n.startswith("_") and isinstance(getattr(usual, n), np.ndarray)]
    return {n for n in names if not np.allclose(getattr(perturbed, n), getattr(usual, n), rtol=1e-9, atol=1e-14)}


@pytest.mark.parametrize("robot", PLANS)
def test_normal_is_the_untouched_robot_bit_for_bit(robot: str) -> None:
    untouched = _play(gymnasium.make(f"{robot}-v5").unwrapped)
    for kwargs in ({}, {"perturbation": "normal"}, {"perturbation": "inverted_actions+inverted_actions"}):
        np.testing.assert_array_equal(_play(_make(robot, **kwargs)), untouched)


@pytest.mark.parametrize("fidelity", ["corrected", "original"])
def test_gravity_and_friction_change_nothing_else(fidelity: str) -> None:
    for robot, gravity, friction in (("HalfCheetah", 0.15, 0.4), ("Ant", 0.7, 0.375)):
        usual = _make(robot).model
        moon, rainfall = (_make(robot, perturbation=p, fidelity=fidelity).model for p in ("moon", "rainfall"))
        assert _changed(moon, usual) == set()
        np.testing.assert_array_equal(moon.opt.gravity, gravity * usual.opt.gravity)
        assert _changed(rainfall, usual) == {"geom_friction"}
        factor = friction if fidelity == "corrected" else friction**2
        np.testing.assert_allclose(rainfall.geom_friction[:, 0], factor * usual.geom_friction[:, 0])
        np.testing.assert_array_equal(rainfall.geom_friction[:, 1:], usual.geom_friction[:, 1:])
        np.testing.assert_array_equal(rainfall.opt.gravity, usual.opt.gravity)


@pytest.mark.parametrize("fidelity", ["corrected", "original"])
@pytest.mark.parametrize(
    ("robot", "preset", "factor", "bodies", "grown"),
    [
        ("HalfCheetah", "hugefoot", 1.5, ("bfoot", "ffoot"), ("bfoot", "ffoot")),
        ("HalfCheetah", "tinyfoot", 0.5, ("bfoot", "ffoot"), ("bfoot", "ffoot")),
        ("HalfCheetah", "carry_stuff", 4.0, ("torso",), ("torso",)),
        ("Ant", "hugefoot", 1.5, (4, 7, 10, 13), tuple(f"{n}_ankle_geom" for n in ("left", "right", "third", "fourth"))),
        ("Humanoid", "carrystuff", 4.0, ("torso", "lwaist"), ("uwaist", "lwaist")),
        ("Humanoid", "tinyfeet", 0.5, ("right_shin", "right_foot", "left_shin", "left_foot"), ("right_foot", "left_foot")),
    ],
)
def test_bodies_have_their_factor_and_no_other_has(robot, preset, factor, bodies, grown, fidelity) -> None:
    usual, model = _make(robot).model, _make(robot, perturbation=preset, fidelity=fidelity).model
    chosen = np.array([model.body(body).id for body in bodies])
    expected = np.ones(model.nbody)
    expected[chosen] = factor
    np.testing.assert_allclose(model.body_mass, expected * usual.body_mass, rtol=1e-9)
    sizes = np.ones(model.ngeom)
    sizes[[model.geom(geom).id for geom in grown]] = factor
    np.testing.assert_allclose(model.geom_size[:, 0], sizes * usual.geom_size[:, 0], rtol=1e-9)
    for geom in (model.geom(name) for name in grown):
        old = usual.geom(geom.id)
        if geom.type[0] == mujoco.mjtGeom.mjGEOM_CAPSULE:  # no longer than it was, if it was not too short
            whole = max(old.size[:2].sum(), geom.size[0] + 1e-4)
            assert geom.size[:2].sum() == pytest.approx(whole)
            np.testing.assert_allclose(geom.pos, old.pos, atol=1e-9)
    ratio = model.body_inertia[chosen] / usual.body_inertia[chosen]
    if fidelity == "original":
        np.testing.assert_allclose(model.body_inertia, usual.body_inertia, rtol=1e-12)
        np.testing.assert_allclose(model.body_iquat, usual.body_iquat, rtol=1e-12)
    else:  # no less than the mass: a wider capsule has its mass further out, a thinner one further in
        assert (np.sign(np.log(ratio)) == np.sign(np.log(factor))).all()
        others = np.setdiff1d(np.arange(model.nbody), chosen)
        np.testing.assert_allclose(model.body_inertia[others], usual.body_inertia[others], rtol=1e-9)
    np.testing.assert_allclose(model.body_subtreemass[0], model.body_mass.sum())
    np.testing.assert_array_equal(model.opt.gravity, usual.opt.gravity)
    np.testing.assert_array_equal(model.geom_friction, usual.geom_friction)


def test_inertia_is_that_of_the_grown_foot() -> None:
    """A capsule of the same whole length and 1.5 times mass and radius, by the textbook."""
    model = _make("HalfCheetah", perturbation="hugefoot").model
    foot, body = model.geom("bfoot"), model.body("bfoot")
    r, h = foot.size[:2]
    assert (r, r + h) == pytest.approx((0.046 * 1.5, 0.046 + 0.094))
    cylinder, caps = math.pi * r**2 * 2 * h, 4 / 3 * math.pi * r**3
    density = body.mass[0] / (cylinder + caps)
    about_axis = density * (cylinder * r**2 / 2 + caps * 2 / 5 * r**2)
    ball = caps * (2 / 5 * r**2 + h**2 + 3 / 4 * r * h)
    across = density * (cylinder * (r**2 / 4 + h**2 / 3) + ball)
    np.testing.assert_allclose(np.sort(body.inertia), [about_axis, across, across], rtol=1e-6)


@pytest.mark.parametrize("gravity", [0.15, 2.0])
def test_it_falls_as_fast_as_gravity_says(gravity: float) -> None:
    env = _make("HalfCheetah", perturbation=f"gravity={gravity}", reset_noise_scale=0.0)
    env.reset(seed=0)
    env.data.qpos[1] += 5.0
    for _ in range(4):
        env.step(np.zeros(6))
    seconds = 4 * env.dt
    assert env.data.qvel[1] == pytest.approx(-9.81 * gravity * seconds, rel=1e-3)


@pytest.mark.parametrize(("fidelity", "factor"), [("corrected", 0.4), ("original", 0.16)])
def test_contacts_have_the_friction(fidelity: str, factor: float) -> None:
    seen = []
    for perturbation in (None, "friction=0.4"):
        env = _make("HalfCheetah", perturbation=perturbation, fidelity=fidelity)
        env.reset(seed=0)
        while not env.data.ncon:
            env.step(np.zeros(6))
        seen.append(env.data.contact.friction[0, 0])
    assert seen[1] == pytest.approx(factor * seen[0])


def test_disabled_legs_do_nothing_and_cost_nothing() -> None:
    """Each leg by where it is; what is left of the actions moves that leg's actuators alone."""
    for leg, sign in LEGS.items():
        off = "+".join(f"action:{other}_{joint}=0" for other in LEGS if other != leg for joint in ("hip", "ankle"))
        env = _make(perturbation=off)
        env.reset(seed=0)
        *_, info = env.step(np.ones(8, np.float32))
        assert info["reward_ctrl"] == pytest.approx(-0.5 * 2)
        moved = env.model.actuator_trnid[np.flatnonzero(env.data.ctrl), 0]
        assert len(moved) == 2
        for joint in moved:
            assert tuple(np.sign(env.data.xanchor[joint][:2] - env.data.qpos[:2])) == sign
        *_, info = env.step(np.where(env._gains == 0, 1.0, 0.0))
        assert info["reward_ctrl"] == 0
        assert not env.data.ctrl.any()


def test_inverted_actions_are_inverted() -> None:
    env, usual = _make("HalfCheetah", perturbation="inverted_actions"), _make("HalfCheetah")
    env.reset(seed=0)
    usual.reset(seed=0)
    for k in range(20):
        action = np.sin(np.arange(6.0) + k)
        np.testing.assert_array_equal(env.step(action)[0], usual.step(-action)[0])


@pytest.mark.parametrize(
    ("robot", "mask", "indices"),
    [
        ("HalfCheetah", "defective_module", [0, 1, 4, 5, 9, 12, 13, 14]),
        ("Ant", "mask:front_right_hip+mask:rear_left_ankle.velocity", [11, 25, 22]),
        ("Ant", "mask:torso", [*range(5), *range(13, 19)]),
        ("Ant", "mask:contact_forces", range(27, 105)),
        ("Humanoid", "mask:abdomen_y.angle+mask:right_knee+mask:v_z", [6, 11, 24, 34]),
    ],
)
def test_masked_channels_read_zero_and_physics_does_not_care(robot: str, mask: str, indices) -> None:
    env, usual = _make(robot, perturbation=mask), _make(robot)
    hidden = np.isin(np.arange(usual.observation_space.shape[0]), list(indices))
    (obs, _), (true, _) = env.reset(seed=0), usual.reset(seed=0)
    for _ in range(10):
        np.testing.assert_array_equal(obs, np.where(hidden, 0.0, true))
        action = 0.4 * np.sin(np.arange(float(env.model.nu)))
        (obs, reward, *_), (true, expected, *_) = env.step(action), usual.step(action)
        assert reward == expected


def test_damage_and_a_perturbation_are_there_together() -> None:
    perturbation = "carry_stuff_hugegravity+hugefoot_rainfall+mask:back_foot_joint"
    usual = _make("HalfCheetah").model
    for fidelity in ("corrected", "original"):
        env = _make("HalfCheetah", perturbation=perturbation, fidelity=fidelity)
        whole = _play(env)
        perturbed = {name: getattr(env.model, name).copy() for name in ("body_mass", "body_inertia", "geom_size")}
        env.set_damage("shorten:back_foot=0.5+remove:front_shin+slack:back_thigh_joint")
        obs, _ = env.reset(seed=0)
        model = env.model
        back, front, torso = (model.body(name).id for name in ("bfoot", "ffoot", "torso"))
        assert model.body_mass[torso] == pytest.approx(4 * usual.body_mass[torso])
        foot, old = model.geom("bfoot"), perturbed["geom_size"][model.geom("bfoot").id]
        assert foot.size[0] == pytest.approx(0.046 * 1.5)
        assert foot.size[1] == pytest.approx(old[1] / 2)
        volume = (2 * foot.size[1] + 4 / 3 * foot.size[0]) / (2 * old[1] + 4 / 3 * old[0])
        assert model.body_mass[back] == pytest.approx(volume * 1.5 * usual.body_mass[back])
        assert model.body_mass[front] < 1e-5
        torso_inertia = usual.body_inertia[torso] if fidelity == "original" else perturbed["body_inertia"][torso]
        np.testing.assert_allclose(model.body_inertia[torso], torso_inertia, rtol=1e-9)
        assert model.opt.gravity[2] == pytest.approx(-9.81 * 1.5)
        assert not obs[[4, 13, *env._channels["front_foot_joint"]]].any()
        assert model.actuator_gear[0, 0] == 0
        env.set_damage(None)
        np.testing.assert_array_equal(_play(env), whole)


@pytest.mark.parametrize(("robot", "preset"), [(robot, preset) for robot, plan in PLANS.items() for preset in plan.presets])
def test_every_preset_runs(robot: str, preset: str) -> None:
    for fidelity in ("corrected", "original"):
        assert np.isfinite(_play(_make(robot, perturbation=preset, fidelity=fidelity), 40)).all()


@pytest.mark.parametrize(
    "kwargs", [{"perturbation": "moon+mask:torso", "damage": "front_left_foot@3", "observe_damage": True}]
)
def test_both_checkers_pass(kwargs: dict[str, Any]) -> None:
    env = gymnasium.make("DamagedAnt-v0", **kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gymnasium_check(env.unwrapped, skip_render_check=True)
        sb3_check(env)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="Did you mean 'hugefoot'"):
        _make(perturbation="hugefeet")
    with pytest.raises(ValueError, match="Did you mean 'corrected'"):
        _make(perturbation="moon", fidelity="corect")
    with pytest.raises(ValueError, match="'mask:contact_forces': the observation has no 'contact_forces'"):
        _make(perturbation="mask:contact_forces", include_cfrc_ext_in_observation=False)
    with pytest.raises(ValueError, match="'mask:x': the observation has no 'x'"):
        _make(perturbation="mask:x")
    assert not _make(perturbation="mask:x", exclude_current_positions_from_observation=False).reset(seed=0)[0][0]
