"""Brax's ant with damage: many damages side by side in one program, against Brax's own systems without the limbs."""

import copy
import functools
import pickle
import warnings
import xml.etree.ElementTree as ET
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from envs.brax.gym import BraxEnv
from envs.brax.tasks import BraxTask, make_task
from envs.brax.vec_env import BraxVecEnv
from policies.population import make_network
from trainers.make_env import make_vec_env
from trainers.rollout.jitted import JittedRollout
from trainers.rollout.normalizer import Moments
from trainers.rollout.types import episode_keys
from trainers.strategies import EvolvingConnectivity

STEPS = 40
DAMAGES = (
    "none",
    "rear_left_leg",
    "front_left_short",
    "slack:rear_left_ankle",
    "weaken:rear_left_hip=0.3",
    "lock:front_left_hip@10",
    "dead:torso",
    "stuck:rear_left_hip@10",
    "noisy:torso=0.1",
    "rear_left_leg@10",
    "front_left_short@10/20:10",
    "remove:rear_right_foot+weaken:front_left_ankle",
    "lock:front_right_ankle",
    "shorten:rear_left_thigh=0.5",
    "slack:rear_left_ankle@10",
    "shorten:rear_left_thigh=0.5+remove:rear_left_foot",
)
ANGLES = {f"{leg}_{part}": 5 + 2 * i + j for i, leg in enumerate(("front_left", "rear_left", "rear_right", "front_right"))
          for j, part in enumerate(("hip", "ankle"))}  # fmt: skip


class Program:
    """All of `DAMAGES` of one physics in one compiled program, one in each lane."""

    def __init__(self, physics: str) -> None:
        self.intact = make_task("ant", physics)
        self.task: BraxTask = self.intact
        self.numbers = np.zeros(len(DAMAGES), np.int32)
        for lane, damage in enumerate(DAMAGES):
            self.task, self.numbers[lane] = self.task.with_damage(damage)
        self.actions = np.random.default_rng(0).uniform(-1, 1, (STEPS, 1, 8)).astype(np.float32)

        def play(numbers: jax.Array, key: jax.Array, actions: jax.Array) -> Any:
            def step(states: Any, action: jax.Array) -> Any:
                states = jax.vmap(self.task.step)(states, action)
                return states, states

            first = jax.vmap(self.task.reset, (None, 0))(key, numbers)
            states = jax.lax.scan(step, first, actions)[1]
            return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, states)

        self._play = jax.jit(play)

    def __call__(self, numbers: np.ndarray, actions: np.ndarray, seed: int = 3) -> Any:
        """States (STEPS + 1, lanes, ...)."""
        lanes = np.broadcast_to(actions, (STEPS, len(DAMAGES), 8))
        return jax.tree.map(np.asarray, self._play(numbers, jax.random.key(seed), lanes))

    @functools.cached_property
    def broken(self) -> Any:
        return self(self.numbers, self.actions)

    @functools.cached_property
    def whole(self) -> Any:
        return self(0 * self.numbers, self.actions)

    def observations(self, damage: str) -> tuple[np.ndarray, np.ndarray]:
        """With this damage, and without, in the same lane."""
        lane = DAMAGES.index(damage)
        return self.broken.obs[:, lane], self.whole.obs[:, lane]


SLOW = [pytest.param(physics, marks=pytest.mark.slow) for physics in ("generalized", "positional", "mjx")]


@pytest.fixture(scope="module", params=["v1", "spring", *SLOW])
def program(request: pytest.FixtureRequest) -> Program:
    return _program(request.param)


@pytest.fixture(scope="module")
def v1() -> Program:
    return _program("v1")


@functools.cache
def _program(physics: str) -> Program:
    return Program(physics)


def test_all_physics_do_what_the_names_say(program: Program) -> None:
    """One test for each physics, so that none compiles twice."""
    start = np.asarray(program.intact.jit_reset(jax.random.key(3)).obs)
    joints = list(ANGLES.values())
    for lane, damage in enumerate(DAMAGES):
        broken, whole = program.observations(damage)
        assert np.isfinite(broken).all()
        np.testing.assert_allclose(whole[0], start, atol=1e-6)
        if not damage.startswith(("rear_left_leg", "remove", "shorten", "dead", "noisy")):
            np.testing.assert_array_equal(broken[0][joints], whole[0][joints])
        if "@10" in damage:  # steps 0 to 9 are intact, to the last bit
            np.testing.assert_array_equal(broken[:11], whole[:11])
        assert (damage == "none") == bool((broken == whole).all())
        assert not np.isnan(program.broken.reward[:, lane]).any()

    removed, _ = program.observations("rear_left_leg")
    gone = [ANGLES["rear_left_hip"], ANGLES["rear_left_ankle"]]
    assert not removed[:, [*gone, *np.add(gone, 14)]].any()
    locked, free = (obs[:, ANGLES["front_left_hip"]] for obs in program.observations("lock:front_left_hip@10"))
    exact = program.task.physics in ("generalized", "mjx")
    assert np.abs(locked[11:] - locked[10]).max() < (1e-3 if exact else np.deg2rad(7))
    assert np.ptp(free[11:]) > np.deg2rad(20)

    for damage, joint, factor in (("slack:rear_left_ankle", 3, 0.0), ("weaken:rear_left_hip=0.3", 2, 0.3)):
        later = program.intact.physics != "v1"
        action = joint + 2 if later else joint  # later files have the actuators of the front right leg first
        weaker = np.array(program.actions)
        weaker[..., action] *= factor
        lane = DAMAGES.index(damage)
        expected = program(0 * program.numbers, weaker)
        np.testing.assert_allclose(program.broken.obs[:9, lane], expected.obs[:9, lane], atol=2e-3)
    zero = (program.broken.obs[:, DAMAGES.index("dead:torso")] == 0).all(axis=0)
    assert np.flatnonzero(zero)[:11].tolist() == [*range(5), *range(13, 19)]


def test_the_program_without_damage_has_none(v1: Program) -> None:
    assert make_task("ant", damage=None) is v1.intact
    assert type(v1.intact) is BraxTask
    assert jax.tree.leaves(v1.intact.jit_reset(jax.random.key(0)).damage) == []
    states = v1.intact.jit_reset(jax.random.key(3))
    for k in range(20):
        np.testing.assert_allclose(v1.whole.obs[k, 0], states.obs, atol=2e-2)  # contacts amplify rounding
        states = v1.intact.jit_step(states, v1.actions[k, 0])


def test_removed_and_shortened_limbs_move_as_in_systems_made_without_them(v1: Program) -> None:
    config = v1.intact.env.sys.config
    three_legs, short = copy.deepcopy(config), copy.deepcopy(config)
    for parts, gone in (
        (three_legs.bodies, ("Aux 2", "$ Body 7")),
        (three_legs.joints, ("hip_2", "ankle_2")),
        (three_legs.actuators, ("hip_2", "ankle_2")),
    ):
        kept = [part for part in parts if part.name not in gone]
        del parts[:]
        parts.extend(kept)
    for i, pair in reversed(list(enumerate(three_legs.collide_include))):
        if pair.first == "$ Body 7":
            del three_legs.collide_include[i]
    (foot,) = (body for body in short.bodies if body.name == "$ Body 4")
    (ankle,) = (joint for joint in short.joints if joint.name == "ankle_1")
    foot.colliders[0].capsule.length = 0.1414214 + 0.16
    ankle.child_offset.x = ankle.child_offset.y = -0.05
    foot.mass = (0.1414214 + 0.16 * 2 / 3) / (0.5656854 + 0.16 * 2 / 3)  # volume of a capsule
    for damage, edited, bodies, actuators in (
        ("rear_left_leg", three_legs, [0, 1, 2, 5, 6, 7, 8, 9], [0, 1, 4, 5, 6, 7]),
        ("front_left_short", short, list(range(10)), list(range(8))),
    ):
        system = type(v1.intact.env.sys)(edited)
        expected = jax.tree.map(lambda x: x[:, DAMAGES.index(damage), bodies], v1.broken.physics.qp)  # noqa: B023
        step = jax.jit(lambda qp, action: system.step(qp, action)[0])  # noqa: B023
        qp = jax.tree.map(lambda x: x[0], expected)
        for k in range(20):
            qp = step(qp, v1.actions[k, 0, actuators])
            np.testing.assert_allclose(expected.pos[k + 1], qp.pos, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("physics", ["generalized", "spring"])
def test_removed_legs_move_as_in_models_made_without_them(physics: str) -> None:
    """In free fall: spring physics' contacts depend on the numbering of the bodies."""
    from brax.io import mjcf
    from etils import epath

    task = make_task("ant", physics, damage="rear_left_leg")
    tree = ET.fromstring((epath.resource_path("brax") / "envs/assets/ant.xml").read_text())
    torso, actuator, start = tree.find("worldbody/body"), tree.find("actuator"), tree.find(".//numeric[@name='init_qpos']")
    torso.remove(torso.find("body[@name='front_right_leg']"))  # the file's name for it
    for motor in actuator.findall("motor")[4:6]:
        actuator.remove(motor)
    start.set("data", "0 0 0.55 1 0 0 0 0 1 0 -1 0 1")
    model = mjcf.loads(ET.tostring(tree, encoding="unicode")).tree_replace({"opt.timestep": task.env.sys.opt.timestep})
    env = copy.copy(task.env)
    env.sys = model
    task_state = task.jit_reset(jax.random.key(0))
    state = task_state.physics.pipeline_state
    q, qd = np.array(state.q), np.array(state.qd)
    q[2] += 3.0
    kept, kept_d = np.r_[0:9, 11:15], np.r_[0:8, 10:14]
    damaged = task.bodies.under(task_state.damage.condition)
    step_damaged, step = jax.jit(damaged.pipeline_step), jax.jit(env.pipeline_step)
    state, expected = jax.jit(damaged.pipeline_init)(q, qd), jax.jit(env.pipeline_init)(q[kept], qd[kept_d])
    for action in np.random.default_rng(1).uniform(-1, 1, (10, 8)):
        state, expected = step_damaged(state, action), step(expected, action[[0, 1, 2, 3, 6, 7]])
        np.testing.assert_allclose(state.q[kept], expected.q, atol=1e-3)


def test_one_program_or_many(v1: Program) -> None:
    damage = "front_left_short@10/20:10"
    task = make_task("ant", damage=damage)
    state = task.jit_reset(jax.random.key(3))
    for k in range(25):
        np.testing.assert_allclose(v1.observations(damage)[0][k], state.obs, atol=2e-2)
        state = task.jit_step(state, v1.actions[k, 0])


def test_a_shortened_limb_stays_at_its_joint(v1: Program) -> None:
    lane = DAMAGES.index("front_left_short@10/20:10")
    qp = jax.tree.map(lambda x: x[:, lane], v1.broken.physics.qp)
    reach = np.linalg.norm(qp.pos[:, 2] - qp.pos[:, 1], axis=1)  # centres of foot and thigh
    assert reach[1:11].min() > 0.3
    assert reach[11:21].max() < 0.25
    assert reach[22:31].min() > 0.3  # grown into the ground, it takes a step to come out
    assert np.abs(qp.vel[11]).max() < 10


def test_sensors_lie_and_physics_does_not_care(v1: Program) -> None:
    for damage in ("dead:torso", "stuck:rear_left_hip@10", "noisy:torso=0.1"):
        lane = DAMAGES.index(damage)
        np.testing.assert_array_equal(v1.broken.physics.qp.pos[:, lane], v1.whole.physics.qp.pos[:, lane])
    torso = [*range(5), *range(13, 19)]
    rest = np.setdiff1d(np.arange(87), torso)
    noisy, true = v1.observations("noisy:torso=0.1")
    np.testing.assert_array_equal(noisy[:, rest], true[:, rest])
    assert np.std((noisy - true)[:, torso]) == pytest.approx(0.1, rel=0.15)
    stuck, true = v1.observations("stuck:rear_left_hip@10")
    hip = [ANGLES["rear_left_hip"], ANGLES["rear_left_hip"] + 14]
    assert (stuck[11:, hip] == true[10, hip]).all()
    np.testing.assert_array_equal(np.delete(stuck, hip, axis=1), np.delete(true, hip, axis=1))


def test_a_population_on_several_morphologies_in_one_program() -> None:
    network = make_network("RSNN", 87, 8, num_neurons=16)
    strategy = EvolvingConnectivity(4)
    params = jax.tree_util.Partial(strategy.sample, strategy.init(jax.random.key(0), network.kernels), jax.random.key(1))
    members, episodes, steps = np.repeat(np.arange(4), 4), np.tile(np.arange(4), 4), 12
    mixed = make_task("ant", "v1", steps, damage={"none": 0.5, "front_left_leg": 0.5})
    rollout = JittedRollout(network, mixed, devices=jax.local_devices()[:1])
    returns = rollout(params, members, episodes, jax.random.key(2), Moments.empty(87)).returns
    task, one_leg_less = make_task("ant", "v1", steps, damage="none").with_damage("front_left_leg")

    def play(member: jax.Array, episode: jax.Array, which: jax.Array) -> jax.Array:
        env_key, carry_key = episode_keys(jax.random.key(2), member, episode)
        weights = jax.tree.map(lambda x: x[0], params(member[None]))

        def step(now: Any, _: None) -> Any:
            carry, output = network.apply(weights, now[0], now[1].obs)
            state = task.step(now[1], output)
            return (carry, state), (state.reward, state.terminated)

        start = network.initial_carry(carry_key), task.reset(env_key, which)
        rewards, ended = jax.lax.scan(step, start, length=steps)[1]
        return jnp.sum(jnp.where(jnp.cumsum(ended) - ended == 0, rewards, 0.0))

    play_all = jax.jit(jax.vmap(play, (0, 0, None)))
    alone = [play_all(members, episodes, which) for which in jnp.array([0, one_leg_less])]
    distance = np.abs(np.array(alone) - returns)
    assert (distance.min(axis=0) < 1e-2).all()
    assert (distance.max(axis=0) > 0.1).all()
    assert set(distance.argmin(axis=0)) == {0, 1}


@pytest.mark.slow
def test_environments_of_a_batch_are_damaged_one_by_one() -> None:
    vec = BraxVecEnv("ant", 4, seed=0, max_episode_steps=6)
    vec.reset()
    actions = np.full((4, 8), 0.5, np.float32)
    assert "damage" not in vec.step(actions)[3][0]
    vec.env_method("set_damage", "front_left_leg+slack:rear_left_hip@2", indices=[1, 3])
    seen = [[info["damage"] for info in vec.step(actions)[3]] for _ in range(3)]
    leg, both = ("remove:front_left_leg",), ("remove:front_left_leg", "slack:rear_left_hip")
    assert seen == [[(), leg, (), leg]] * 2 + [[(), both, (), both]]
    vec.env_method("set_damage", None, indices=3)
    assert [info["damage"] for info in vec.step(actions)[3]] == [(), both, (), ()]
    obs, _, dones, _ = vec.step(actions)
    assert dones.all()
    assert [info["damage"] for info in vec.reset_infos] == [(), leg, (), ()]
    assert not obs[1, [5, 6, 19, 20]].any()
    assert obs[[0, 2, 3]][:, [5, 6, 19, 20]].all()
    [(_, info)] = vec.env_method("reset", indices=1)
    assert info["damage"] == leg
    with pytest.raises(ValueError, match="no limb"):
        vec.env_method("set_damage", "fifth_leg")
    vec.reset()
    assert [info["damage"] for info in vec.reset_infos] == [(), leg, (), ()]


def test_damage_is_drawn_anew_in_each_episode() -> None:
    vec = BraxVecEnv("ant", 16, seed=0, max_episode_steps=6, damage={"none": 0.5, "slack:front_left_hip@1..4": 0.5})
    first: list[int] = []
    none = 0
    vec.reset()
    for _ in range(4):
        broken = np.array([[len(i["damage"]) for i in vec.step(np.zeros((16, 8), np.float32))[3]] for _ in range(6)])
        assert (np.diff(broken, axis=0) >= 0).all()
        none += int((broken[-1] == 0).sum())
        first += [int(np.argmax(lane)) for lane in broken.T if lane[-1]]
    assert 16 < none < 48
    assert set(first) == {1, 2, 3, 4}


def test_single_environment() -> None:
    env = gymnasium.make("BraxAnt-v0", damage="front_left_leg+weaken:rear_left_hip@2", observe_damage=True, horizon=50,
                         render_mode="rgb_array").unwrapped  # fmt: skip
    assert env.observation_space.shape == (87 + 22,)
    obs, info = env.reset(seed=0)
    assert info["damage"] == ("remove:front_left_leg",)
    assert obs[87:].sum() == 5  # the leg, its thigh and foot, hip and ankle
    clone = pickle.loads(pickle.dumps(env))
    np.testing.assert_array_equal(clone.reset(seed=0)[0], obs)
    for _ in range(3):
        obs, *_, info = env.step(np.zeros(8, np.float32))
    assert info["damage"] == ("remove:front_left_leg", "weaken:rear_left_hip=0.5")
    assert obs[87:].sum() == 6
    without = env.render()
    env.set_damage("none")
    env.step(np.zeros(8, np.float32))
    with_leg = env.render()
    assert 0.002 < (without != with_leg).any(axis=-1).mean() < 0.2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gymnasium_check(env, skip_render_check=True)
        sb3_check(env)
    vec = make_vec_env(gymnasium.wrappers.TimeLimit(env, 20), 1, 0, {})
    assert vec.get_attr("task")[0].max_episode_steps == 20
    assert vec.observation_space.shape == (109,)


def test_pictures_of_the_later_physics_show_the_damage(v1: Program) -> None:
    frames = []
    for damage in ("none", "front_left_leg", "front_left_short"):
        env = BraxEnv("ant", "spring", damage=damage, render_mode="rgb_array", width=240, height=192)
        env.reset(seed=0)
        frames.append(env.render())
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (frames[one] != frames[other]).any(axis=-1).mean() > 0.002


def test_from_the_command_line() -> None:
    vec = make_vec_env("Ant", 2, 0, {"damage": "front_left_leg", "observe_damage": True})
    assert vec.observation_space.shape == (109,)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"name": "hopper", "damage": "none"}, "Brax's Hopper cannot be damaged; of the Brax tasks only Ant can"),
        ({"name": "humanoid", "observe_damage": True}, "only Ant can"),
        ({"damage": "front_leftleg"}, "Did you mean 'front_left_leg'"),
        ({"damage": "weaken:front_left_hip=2"}, "must be in"),
        ({"damage": "front_left_leg@1000"}, "an episode has 1000 steps"),
        ({"physics": "mjx", "damage": "dead:contact_forces"}, "physics='mjx' has no sensor 'contact_forces'"),
        ({"damage": "+".join(f"{limb}@{i}" for i, limb in enumerate(
            [f"{leg}_{part}" for leg in ("front_left", "rear_left", "rear_right", "front_right") for part in ("thigh", "foot")]
        )).replace("_thigh", "_foot")}, "keep one of them"),
        ({"damage": "+".join(f"shorten:{leg}_{part}@{i}{j + 1}" for i, leg in enumerate(
            ("front_left", "rear_left", "rear_right", "front_right")) for j, part in enumerate(("thigh", "foot"))
        )}, "at 6 different times, not at 8"),
    ],
)  # fmt: skip
def test_refuses_what_makes_no_sense(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**({"name": "ant"} | kwargs))


def test_refuses_damage_beside_a_task() -> None:
    with pytest.raises(ValueError, match="give damage, observe_damage, reward, perturbation or fidelity to make_task"):
        BraxVecEnv(make_task("ant"), damage="front_left_leg")
