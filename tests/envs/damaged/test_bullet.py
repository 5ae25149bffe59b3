"""The damaged ant of PyBullet, against pybullet_envs_gymnasium's and what Bullet says of the loaded model."""

import copy
import functools
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_sb3_env
from stable_baselines3.common.vec_env import SubprocVecEnv

import envs  # noqa: F401

pybullet = pytest.importorskip("pybullet")
pybullet_data = pytest.importorskip("pybullet_data")
BulletClient = pytest.importorskip("pybullet_utils.bullet_client").BulletClient
pytest.importorskip("pybullet_envs_gymnasium")

FRONT_LEFT_ANKLE = 1  # in actions: hip and ankle of front left, rear left, rear right, front right
SIGNS = {"front_left": (1, 1), "rear_left": (-1, 1), "rear_right": (-1, -1), "front_right": (1, -1)}


def make(**kwargs: Any) -> Any:
    return gymnasium.make("DamagedAntBullet-v0", **kwargs).unwrapped


def actions(steps: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, 8)).astype(np.float32)


def roll(env: Any, seed: int = 0, steps: int = 150) -> np.ndarray:
    """Observations with the reward behind, (steps + 1, 29)."""
    rows = [[*env.reset(seed=seed)[0], 0.0]]
    for action in actions(steps):
        obs, reward, *_ = env.step(action)
        rows.append([*obs, reward])
    return np.array(rows)


def foot_lengths(env: Any) -> dict[tuple[int, int], float]:
    """Length of each foot by the signs of where it is, (x, y)."""
    client, body = env._p, env.robot.objects[0]
    lengths = {}
    for link in range(client.getNumJoints(body)):
        if client.getJointInfo(body, link)[12].decode().endswith("_foot"):
            shape = [visual for visual in client.getVisualShapeData(body) if visual[1] == link]
            x, y, _ = client.getLinkState(body, link)[0]
            lengths[int(np.sign(x)), int(np.sign(y))] = shape[0][3][0] if shape else 0.0
    return lengths


def test_undamaged_equals_upstream_step_by_step() -> None:
    upstream = gymnasium.make("AntBulletEnv-v0").unwrapped
    np.testing.assert_array_equal(roll(make(), seed=5, steps=300), roll(upstream, seed=5, steps=300))


@pytest.mark.parametrize("leg", SIGNS)
def test_short_foot_is_where_its_name_says(leg: str) -> None:
    env = make(damage=f"{leg}_short")
    env.reset(seed=0)
    assert foot_lengths(env) == {
        signs: pytest.approx(0.1414 if signs == SIGNS[leg] else 0.5657, abs=1e-4) for signs in SIGNS.values()
    }


@pytest.mark.parametrize("leg", SIGNS)
def test_joints_are_where_their_names_say(leg: str) -> None:
    env = make(damage={"none": 1.0})
    env.reset(seed=0)
    i = 2 * list(SIGNS).index(leg)
    for joint, name in zip(env.robot.ordered_joints[i : i + 2], ("hip", "ankle"), strict=True):
        assert joint.joint_name.startswith(name)
        x, y, _ = env._p.getLinkState(joint.bodies[0], joint.jointIndex)[4]
        assert (np.sign(x), np.sign(y)) == SIGNS[leg]


def test_shorter_thigh_brings_the_foot_nearer() -> None:
    ankles = {}
    for damage in ("none", "shorten:rear_left_thigh=0.5"):
        env = make(damage=damage)
        env.reset(seed=0)
        hip, ankle = (env._p.getLinkState(1, env.robot.jdict[f"{name}_2"].jointIndex)[4] for name in ("hip", "ankle"))
        ankles[damage] = np.linalg.norm(np.subtract(hip, ankle))
    assert ankles["none"] == pytest.approx(0.2 * 2**0.5, abs=1e-3)
    assert ankles["shorten:rear_left_thigh=0.5"] == pytest.approx(0.1 * 2**0.5, abs=1e-3)


def test_removed_leg_has_no_mass_no_contact_and_reads_zero() -> None:
    masses = []
    for damage in ("none", "front_right_leg"):
        env = make(damage=damage)
        rows = roll(env)
        masses.append(sum(env._p.getDynamicsInfo(1, link)[0] for link in range(-1, env._p.getNumJoints(1))))
    upper, foot = 7.83155, 13.51844  # kg, capsules of 1000 kg / m^3
    assert masses[0] - masses[1] == pytest.approx(2 * upper + foot, abs=1e-3)
    assert foot_lengths(env)[1, -1] == 0.0
    assert np.isfinite(rows).all()
    assert not rows[:, [20, 21, 22, 23, 27]].any()
    assert rows[:, 24:27].any(axis=0).all()


def test_removed_leg_moves_the_rest_as_if_its_joints_were_gone(tmp_path: Path) -> None:
    """Against a model of three legs, in free fall, solved until the order of Bullet's constraints does not matter."""
    env = make(damage="front_left_leg")
    env.reset(seed=0)
    tree = ET.parse(Path(pybullet_data.getDataPath()) / "mjcf" / "ant.xml")
    torso = tree.find("worldbody/body")
    assert torso is not None
    torso.remove(torso.find("body[@name='front_left_leg']"))
    tree.write(tmp_path / "three_legs.xml")
    client = BulletClient(pybullet.DIRECT)
    client.setGravity(0, 0, -9.8)
    client.setDefaultContactERP(0.9)
    client.setPhysicsEngineParameter(fixedTimeStep=0.0165, numSubSteps=4)
    for simulation in (client, env._p):
        simulation.setPhysicsEngineParameter(numSolverIterations=500, solverResidualThreshold=0)
    flags = pybullet.URDF_USE_SELF_COLLISION | pybullet.URDF_USE_SELF_COLLISION_EXCLUDE_ALL_PARENTS
    body = client.loadMJCF(str(tmp_path / "three_legs.xml"), flags=flags)[0]
    links = {client.getJointInfo(body, i)[1].decode(): i for i in range(client.getNumJoints(body))}
    for link in links.values():
        client.setJointMotorControl2(body, link, pybullet.POSITION_CONTROL, force=0)
    joints = env.robot.ordered_joints[2:]
    for joint in joints:
        client.resetJointState(body, links[joint.joint_name], *joint.get_state())
    for action in actions(10):
        for joint, torque in zip(joints, 250.0 * action[2:].astype(float), strict=True):
            client.setJointMotorControl2(body, links[joint.joint_name], pybullet.TORQUE_CONTROL, force=torque)
        client.stepSimulation()
        env.step(action)
        np.testing.assert_allclose(client.getBaseVelocity(body), env._p.getBaseVelocity(1), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("damage", "factor"), [("weaken:front_left_ankle=0.3", 0.3), ("slack:front_left_ankle", 0.0)])
def test_weak_joint_moves_as_with_a_smaller_action(damage: str, factor: float) -> None:
    broken, intact = make(damage=damage), make()
    broken.reset(seed=1)
    intact.reset(seed=1)
    for action in actions(60):
        smaller = action.astype(float)
        smaller[FRONT_LEFT_ANKLE] *= factor
        np.testing.assert_array_equal(broken.step(action)[0], intact.step(smaller)[0])


def test_locked_joint_stays_and_is_released() -> None:
    env = make(damage="lock:front_left_hip@20/1000:60")
    env.reset(seed=0)
    angles = []
    for action in np.sign(actions(200)):
        env.step(action)
        angles.append(env.robot.jdict["hip_1"].get_position())
    assert np.ptp(angles[20:80]) < np.deg2rad(0.5)
    assert abs(angles[40] - angles[19]) < np.deg2rad(0.5)
    assert np.ptp(angles[80:]) > np.deg2rad(20)


def test_lock_before_the_first_step_holds_the_ankle_in_its_range() -> None:
    env = make(damage="lock:front_left_ankle")
    env.reset(seed=0)
    for action in np.sign(actions(100)):
        env.step(action)
    assert np.rad2deg(env.robot.jdict["ankle_1"].get_position()) == pytest.approx(30, abs=0.5)


def test_sensors_lie_and_physics_does_not_care() -> None:
    intact = roll(make())
    dead = roll(make(damage="dead:torso+dead:contacts+stuck:rear_left_hip@10"))
    assert not dead[:, [*range(8), *range(24, 28)]].any()
    assert (dead[11:, 12:14] == intact[10, 12:14]).all()
    rest = [*range(8, 12), *range(14, 24), 28]
    np.testing.assert_array_equal(dead[:, rest], intact[:, rest])
    noisy = roll(make(damage="noisy:torso=0.1"))
    assert np.std((noisy - intact)[:, :8]) == pytest.approx(0.1, rel=0.2)


def test_flags_and_info_tell_what_is_broken() -> None:
    env = make(damage="front_left_leg+weaken:rear_left_hip@2", observe_damage=True)
    obs, info = env.reset(seed=0)
    assert info["damage"] == ("remove:front_left_leg",)
    assert obs.shape == env.observation_space.shape == (28 + 22,)
    assert obs[28:].sum() == 5
    for _ in range(3):
        obs, *_, info = env.step(np.zeros(8, np.float32))
    assert info["damage"] == ("remove:front_left_leg", "weaken:rear_left_hip=0.5")
    assert obs[28:].sum() == 6


def test_same_seed_same_trajectory_whatever_went_before() -> None:
    mixed = make(damage={"none": 0.4, "front_left_short": 0.3, "front_right_leg+lock:rear_left_hip@5": 0.3})
    first = [roll(mixed, seed, 60) for seed in range(5)]
    bodies = set()
    for seed in reversed(range(5)):
        np.testing.assert_array_equal(roll(mixed, seed, 60), first[seed])
        bodies.add(mixed.robot.structure)
        np.testing.assert_array_equal(roll(make(damage=mixed._course.damage), seed, 60), first[seed])
    assert len(bodies) > 1


def test_same_start_whatever_the_damage() -> None:
    damages = ("none", "front_left_short", {"none": 0.5, "weaken:front_left_hip": 0.5}, "slack:rear_left_hip@3..50")
    starts = [make(damage=damage).reset(seed=7)[0][8:24] for damage in damages]
    for start in starts:
        np.testing.assert_array_equal(start, starts[0])


def test_set_damage_now_or_at_the_next_reset() -> None:
    env = make()
    env.reset(seed=0)
    env.step(actions(1)[0])
    env.set_damage("slack:front_left_hip")
    assert env.step(actions(1)[0])[4]["damage"] == ("slack:front_left_hip",)
    env.set_damage("front_left_short+slack:rear_left_hip")
    assert env.step(actions(1)[0])[4]["damage"] == ("slack:front_left_hip",)
    assert env.reset()[1]["damage"] == ("shorten:front_left_foot=0.25", "slack:rear_left_hip")
    assert foot_lengths(env)[1, 1] == pytest.approx(0.1414, abs=1e-4)
    env.set_damage("front_left_short")
    assert env.step(actions(1)[0])[4]["damage"] == ("shorten:front_left_foot=0.25",)
    env.set_damage(None)
    assert env.step(actions(1)[0])[4]["damage"] == ("shorten:front_left_foot=0.25",)
    assert env.reset()[1]["damage"] == ()
    np.testing.assert_array_equal(roll(env, 3), roll(make(), 3))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("front_left_short@100", "whole episode"),
        ("remove:front_left_foot@0..10", "whole episode"),
        ({"none": 0.5, "front_left_leg@0/50:20": 0.5}, "whole episode"),
        ("front_leftleg", "Did you mean 'front_left_leg'"),
        ("dead:contact_forces", "contacts"),
        ("weaken:front_left_hip=2", "must be in"),
    ],
)
def test_refuses_what_makes_no_sense(damage: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(damage=damage)
    env = make(damage="slack:front_left_hip")
    with pytest.raises(ValueError, match=message):
        env.set_damage(damage)
    assert env.reset(seed=0)[1]["damage"] == ("slack:front_left_hip",)


@pytest.mark.parametrize("action", [np.full(8, np.nan), np.zeros(7), np.zeros(1)])
def test_refuses_bad_actions(action: np.ndarray) -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must"):
        env.step(action)


@pytest.mark.filterwarnings("ignore")  # what upstream's spaces and its `seed` method are warned of
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"damage": "front_left_short"},
        {"damage": {"none": 0.5, "remove:rear_left_foot+noisy:torso": 0.5}, "observe_damage": True},
        {"damage": "lock:front_left_hip@3..20", "horizon": 50, "render_mode": "rgb_array"},
    ],
)
def test_passes_the_checkers(kwargs: dict[str, Any]) -> None:
    check_env(make(**kwargs), skip_render_check=True)
    check_sb3_env(make(**kwargs))


def test_has_a_simulation_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It never asks for one that another process shares (a server left behind would hang or share every environment)."""
    methods, connect = [], pybullet.connect

    def spy(method: int, **kwargs: Any) -> int:
        methods.append(method)
        return connect(method, **kwargs)

    monkeypatch.setattr(pybullet, "connect", spy)
    env = make()
    for _ in range(2):
        env.reset(seed=0)
    assert methods == [pybullet.DIRECT]


def test_renders_the_damage() -> None:
    frames = []
    for damage in ("none", "front_right_leg"):
        env = make(damage=damage, render_mode="rgb_array")
        env.reset(seed=0)
        frames.append(env.render())
    assert frames[0].shape == (240, 320, 3)
    assert frames[0].dtype == np.uint8
    assert 0.001 < (frames[0] != frames[1]).any(axis=-1).mean() < 0.1


def test_leaves_no_files_and_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    env = make(damage={"front_left_short": 0.5, "front_right_short": 0.5})

    def megabytes() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    measurable = Path("/proc/self/statm").exists()
    for _ in range(20):
        env.reset()
    before = megabytes() if measurable else 0.0
    for _ in range(300):
        env.reset()
        env.step(np.zeros(8, np.float32))
    assert not measurable or megabytes() - before < 7.5  # 50 MB in 2,000 resets
    assert not list(tmp_path.iterdir())


def test_copies_through_its_arguments_and_runs_in_subprocesses() -> None:
    env = make(damage="front_left_short", observe_damage=True)
    again = copy.deepcopy(env)
    np.testing.assert_array_equal(env.reset(seed=2)[0], again.reset(seed=2)[0])
    vec_env = SubprocVecEnv([functools.partial(type(env), damage="front_left_short")], start_method="spawn")
    vec_env.seed(2)
    obs = vec_env.reset()
    vec_env.env_method("set_damage", "front_left_leg")
    assert obs.shape == (1, 28)
    np.testing.assert_array_equal(obs[0], env.reset(seed=2)[0][:28])
    vec_env.reset()
    assert vec_env.reset_infos[0]["damage"] == ("remove:front_left_leg",)
    vec_env.close()


@pytest.mark.parametrize(
    ("setup", "expected"),
    [
        ("", "quiet"),
        ("import sys; sys.modules['pybullet'] = None", 'pip install "spikegym[bullet]"'),
    ],
)
def test_prints_nothing_and_says_what_to_install(setup: str, expected: str) -> None:
    code = f"""
{setup}
import gymnasium, envs, sys
assert "pybullet_envs_gymnasium" not in sys.modules
try:
    gymnasium.make("DamagedAntBullet-v0", damage="front_left_short").reset(seed=0)
    print("quiet")
except gymnasium.error.DependencyNotInstalled as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert expected in done.stdout
    assert "build time" not in done.stderr
