import math
import warnings

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv

import envs  # noqa: F401

ROBOTS = ("Ant", "HalfCheetah", "Hopper", "Walker2d", "Humanoid")


def _make(robot: str = "Ant", **kwargs):
    return gymnasium.make(f"Damaged{robot}-v0", **kwargs)


def _play(env, seed: int | None, steps: int = 60) -> list[np.ndarray]:
    out, rng = [env.reset(seed=seed)[0]], np.random.default_rng(7)
    for _ in range(steps):
        obs, reward, terminated, truncated, _ = env.step(rng.uniform(env.action_space.low, env.action_space.high))
        out.append(np.append(obs, reward))
        if terminated or truncated:
            out.append(env.reset()[0])
    return out


def _same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("robot", ROBOTS)
def test_undamaged_it_is_gymnasiums_number_for_number(robot: str) -> None:
    for seed in (0, 1):
        assert _same(_play(_make(robot), seed, 150), _play(gymnasium.make(f"{robot}-v5"), seed, 150))


@pytest.mark.parametrize("robot", ROBOTS)
def test_both_checkers_pass(robot: str) -> None:
    anatomy = _make(robot).unwrapped.robot.anatomy
    limb, joint = list(anatomy.limbs)[-1], anatomy.joints[0]
    for damage in (None, limb, f"shorten:{limb}=0.5@3+lock:{joint}@1..2", f"dead:{joint}@0/4:2+weaken:{joint}=0.1"):
        for reveal in (False, True):
            env = _make(robot, damage=damage, observe_damage=reveal, render_mode="rgb_array")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                gymnasium_check(env.unwrapped, skip_render_check=True)
                sb3_check(env)


@pytest.mark.parametrize("robot", ROBOTS)
def test_every_limb_can_go_and_come_back(robot: str) -> None:
    env = _make(robot)
    intact = _play(env, 0)
    model = env.unwrapped.model
    mass = model.body_mass.sum()
    for limb in env.unwrapped.robot.anatomy.limbs:
        for kind in ("remove", "shorten"):
            env.unwrapped.set_damage(f"{kind}:{limb}")
            damaged = _play(env, 0)
            assert np.isfinite(np.concatenate(damaged)).all()
            assert model.body_mass.sum() < mass
            assert not _same(damaged, intact)
    env.unwrapped.set_damage(None)
    assert _same(_play(env, 0), intact)


def test_legs_are_named_by_where_they_are() -> None:
    env = _make()
    env.reset(seed=0)
    model, data = env.unwrapped.model, env.unwrapped.data
    mujoco.mj_resetData(model, data)
    mujoco.mj_forward(model, data)
    for leg, sign in (("front_left", (1, 1)), ("rear_left", (-1, 1)), ("rear_right", (-1, -1)), ("front_right", (1, -1))):
        for geom in env.unwrapped.robot.geoms[f"{leg}_leg"]:
            x, y, _ = data.geom(geom).xpos
            assert (np.sign(x), np.sign(y)) == sign


def test_a_foot_shortened_to_a_quarter_has_a_quarter_of_its_length() -> None:
    """0.566 m to 0.141 m; mass and inertia are those of the shorter capsule."""
    env = _make(damage="front_left_short")
    env.reset(seed=0)
    geom = env.unwrapped.model.geom("left_ankle_geom")
    assert 2 * geom.size[1] == pytest.approx(0.4 * math.sqrt(2) / 4)
    volume = math.pi * 0.08**2 * 2 * geom.size[1] + 4 / 3 * math.pi * 0.08**3
    body = env.unwrapped.model.body(geom.bodyid[0])
    assert body.mass[0] == pytest.approx(5 * volume)
    near = np.array(geom.pos) - geom.size[1] * np.array([1, 1, 0]) / math.sqrt(2)
    assert near == pytest.approx([0, 0, 0], abs=1e-9)


@pytest.mark.parametrize(("robot", "limb"), [("Ant", "rear_left_thigh"), ("Hopper", "thigh"), ("HalfCheetah", "back_shin")])
def test_what_hangs_on_a_shortened_segment_stays_attached(robot: str, limb: str) -> None:
    """The child's joint keeps its distance to the far end of the segment."""
    distances = []
    for damage in (None, f"shorten:{limb}=0.5"):
        env = _make(robot, damage=damage, reset_noise_scale=0.0)
        env.reset(seed=0)
        model, data = env.unwrapped.model, env.unwrapped.data
        geom = data.geom(env.unwrapped.robot.geoms[limb][-1])
        half = model.geom(geom.id).size[1]
        axis = geom.xmat.reshape(3, 3)[:, 2]
        child = next(b for b in range(model.nbody) if model.body_parentid[b] == model.geom_bodyid[geom.id])
        anchor = data.xanchor[model.body_jntadr[child]]
        distances.append(min(np.linalg.norm(geom.xpos + s * half * axis - anchor) for s in (-1, 1)))
    assert distances[0] == pytest.approx(distances[1], abs=1e-6)


def test_a_removed_leg_touches_nothing_weighs_nothing_and_reads_zero() -> None:
    env = _make(damage="front_left_leg", terminate_when_unhealthy=False)
    env.reset(seed=0)
    model, data = env.unwrapped.model, env.unwrapped.data
    gone = {model.geom(g).id for g in env.unwrapped.robot.geoms["front_left_leg"]}
    channels = env.unwrapped._channels
    env.action_space.seed(0)
    for _ in range(200):
        obs, *_ = env.step(env.action_space.sample())
        assert not gone & set(data.contact.geom[: data.ncon].ravel())
        assert not obs[channels["front_left_hip"]].any()
        assert not obs[channels["front_left_ankle"]].any()
        assert obs[channels["rear_left_hip"]].any()
    assert sum(model.body_mass[model.geom_bodyid[g]] for g in gone) < 1e-5
    assert (np.abs(model.geom_rgba[list(gone), 3]) == 0).all()


def test_actuators() -> None:
    env = _make(damage="weaken:front_left_hip=0.3+slack:rear_left_ankle")
    env.reset(seed=0)
    env.step(np.ones(8, np.float32))
    model, data = env.unwrapped.model, env.unwrapped.data
    joints = [model.joint(model.actuator_trnid[i, 0]) for i in range(8)]
    torque = {joint.name: data.qfrc_actuator[joint.dofadr[0]] for joint in joints}
    assert torque["hip_1"] == pytest.approx(45.0)
    assert torque["ankle_2"] == 0.0
    assert torque["hip_2"] == pytest.approx(150.0)


def test_a_joint_locks_at_its_angle() -> None:
    env = _make(damage="lock:front_left_hip@20", terminate_when_unhealthy=False)
    env.reset(seed=0)
    where = env.unwrapped._channels["front_left_hip"][0]
    rng, angles = np.random.default_rng(0), []
    for _ in range(100):
        obs, *_ = env.step(rng.uniform(-1, 1, 8))
        angles.append(obs[where])
    assert np.ptp(angles[:20]) > 0.2
    assert angles[20] == pytest.approx(angles[19], abs=0.1)  # a fast joint takes a step to stop
    assert angles[24:] == pytest.approx([angles[19]] * 76, abs=2e-3)


def test_sensors() -> None:
    """Against the true observation of an undamaged twin, whose physics sensor faults leave alone."""
    damage = "dead:front_left_hip@5+stuck:rear_left_hip@10+noisy:torso=0.1@15"
    damaged, intact = _make(damage=damage), _make()
    (sensed, _), (true, _) = damaged.reset(seed=0), intact.reset(seed=0)
    where = damaged.unwrapped._channels
    damaged.action_space.seed(0)
    history, noise = [], []
    for step in range(40):
        np.testing.assert_array_equal(sensed[where["front_right_hip"]], true[where["front_right_hip"]])
        history.append(true)
        action = damaged.action_space.sample()
        (sensed, *_, info), (true, *_) = damaged.step(action), intact.step(action)
        assert info["damage"] == ("dead:front_left_hip",) * (step >= 5) + ("stuck:rear_left_hip",) * (step >= 10) + (
            "noisy:torso=0.1",
        ) * (step >= 15)
        assert (sensed[where["front_left_hip"]] == 0).all() == (step >= 5)
        expected = history[10] if step >= 10 else true
        np.testing.assert_array_equal(sensed[where["rear_left_hip"]], expected[where["rear_left_hip"]])
        if step >= 15:
            noise.append(sensed[where["torso"]] - true[where["torso"]])
    assert np.std(noise) == pytest.approx(0.1, rel=0.2)
    assert np.mean(noise) == pytest.approx(0.0, abs=0.02)


def test_same_seed_same_trajectory_also_after_other_episodes() -> None:
    damage = {"front_left_leg@5..20": 0.5, "lock:rear_left_hip@3/6:2+noisy:torso=0.1": 0.5}
    first, second = _make(damage=damage), _make(damage=damage)
    expected = _play(first, 4)
    _play(second, 5)
    second.unwrapped.set_damage("rear_right_leg")
    _play(second, None, 7)
    second.unwrapped.set_damage(damage)
    assert _same(_play(second, 4), expected)


def test_intermittent_damage_comes_and_goes() -> None:
    env = _make(damage="front_left_leg@4/10:3")
    env.reset(seed=0)
    there = [bool(env.step(np.zeros(8))[-1]["damage"]) for _ in range(30)]
    assert there == [k >= 4 and (k - 4) % 10 < 3 for k in range(30)]


def test_flags_tell_of_the_damage_when_asked() -> None:
    env = _make(damage="front_left_foot@2", observe_damage=True)
    obs, _ = env.reset(seed=0)
    parts = env.unwrapped._course.parts
    seen = []
    for _ in range(4):
        seen.append({part for part, flag in zip(parts, obs[-len(parts) :], strict=True) if flag})
        obs, *_ = env.step(np.zeros(8))
    assert seen == [set(), set(), set(), {"front_left_foot", "front_left_ankle"}]


def test_damage_through_a_vec_env_in_the_middle_of_an_episode() -> None:
    venv = make_vec_env("envs:DamagedAnt-v0", 2, vec_env_cls=SubprocVecEnv, env_kwargs={"damage": "slack:hip_1"})
    venv.seed(0)
    venv.reset()
    *_, infos = venv.step(np.zeros((2, 8)))
    assert [info["damage"] for info in infos] == [("slack:front_left_hip",)] * 2
    venv.env_method("set_damage", "front_right_leg@1", indices=[1])
    venv.step(np.zeros((2, 8)))
    *_, infos = venv.step(np.zeros((2, 8)))
    assert [info["damage"] for info in infos] == [("slack:front_left_hip",), ("remove:front_right_leg",)]
    venv.close()


def test_software_pictures_show_the_damage() -> None:
    frames = {}
    for damage in (None, "front_left_leg", "front_left_short"):
        env = _make(damage=damage, renderer="software", render_mode="rgb_array", width=160, height=120)
        env.reset(seed=0)
        frames[damage] = env.render()
        assert frames[damage].shape == (120, 160, 3)
        assert frames[damage].dtype == np.uint8
    assert not np.array_equal(frames[None], frames["front_left_leg"])
    assert not np.array_equal(frames[None], frames["front_left_short"])
    env.unwrapped.set_damage(None)
    env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), frames[None])


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="renderer='opengll' is unknown"):
        _make(renderer="opengll")
    with pytest.raises(ValueError, match="Did you mean 'front_left_leg'"):
        _make(damage="front_left_log")
    with pytest.raises(ValueError, match="the observation has no 'contact_forces' with these arguments"):
        _make(damage="dead:contact_forces", include_cfrc_ext_in_observation=False)
    env = _make(damage="front_left_leg")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="must be finite"):
        env.step(np.full(8, np.nan))
    with pytest.raises(ValueError, match="no joint 'knee'"):
        env.unwrapped.set_damage("lock:knee")
    assert env.step(np.zeros(8))[-1]["damage"] == ("remove:front_left_leg",)
