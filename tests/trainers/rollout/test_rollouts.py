import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack

from envs.brax.tasks import make_task
from policies.population import make_network
from trainers.rollout import jitted
from trainers.rollout.jitted import JittedRollout, Player, Queue
from trainers.rollout.normalizer import CLIP, Moments, Scaling, moments_from_sums
from trainers.rollout.types import episode_keys
from trainers.rollout.vec_env import VecEnvRollout
from trainers.strategies import EvolvingConnectivity

POPULATION = 24


def _population(network):
    strategy = EvolvingConnectivity(POPULATION)
    state = strategy.init(jax.random.key(0), network.kernels)
    return jax.tree_util.Partial(strategy.sample, state, jax.random.key(1))


MEMBERS = np.repeat(np.arange(POPULATION), 2)
EPISODES = np.tile(np.arange(2), POPULATION)


def _same(a, b) -> None:
    np.testing.assert_array_equal(a.returns, b.returns)
    np.testing.assert_array_equal(a.lengths, b.lengths)
    np.testing.assert_array_equal(a.moments.mean, b.moments.mean)
    np.testing.assert_array_equal(a.moments.m2, b.moments.m2)
    assert (a.env_steps, a.metrics) == (b.env_steps, b.metrics)


# Brax, one jitted program


@pytest.fixture(scope="module")
def hopper():
    task = make_task("hopper", "v1", 60)
    network = make_network("RSNN", task.observation_size, task.action_size, num_neurons=64)
    return task, network, _population(network)


def _play(hopper, members=MEMBERS, episodes=EPISODES, **kwargs):
    task, network, params_of = hopper
    rollout = JittedRollout(network, task, **kwargs)
    return rollout(params_of, members, episodes, jax.random.key(2), Moments.empty(task.observation_size))


def test_results_do_not_depend_on_chunks_slots_or_order(hopper) -> None:
    reference = _play(hopper)
    assert len(set(reference.lengths)) > 3, "episodes of one length prove nothing"
    _same(reference, _play(hopper, chunk_steps=7, slots=9))
    order = np.random.default_rng(0).permutation(len(MEMBERS))
    shuffled = _play(hopper, MEMBERS[order], EPISODES[order])
    np.testing.assert_array_equal(reference.returns[order], shuffled.returns)


def test_slots_refilled_together_as_on_accelerators_give_the_same(hopper, monkeypatch) -> None:
    reference = _play(hopper)
    monkeypatch.setattr(jitted, "Player", lambda *args: Player(*args[:-1], on_cpu=False))
    _same(reference, _play(hopper, slots=9))


def test_episodes_of_one_stream_start_alike(hopper) -> None:
    task, network, params_of = hopper
    swapped = np.where(MEMBERS == 3, 4, np.where(MEMBERS == 4, 3, MEMBERS))
    rollout = JittedRollout(network, task)
    empty = Moments.empty(task.observation_size)
    own = rollout(params_of, MEMBERS, EPISODES, jax.random.key(2), empty)
    others = rollout(params_of, MEMBERS, EPISODES, jax.random.key(2), empty, streams=swapped)
    np.testing.assert_array_equal(own.returns != others.returns, swapped != MEMBERS)
    alike = jax.tree_util.Partial(lambda params_of, members: params_of(0 * members), params_of)  # all play as member 0
    same = rollout(alike, MEMBERS, EPISODES, jax.random.key(2), empty, streams=0 * MEMBERS)
    np.testing.assert_array_equal(same.returns, np.tile(same.returns[:2], POPULATION))
    np.testing.assert_array_equal(same.returns[:2], own.returns[:2])
    assert same.returns[0] != same.returns[1]


def test_few_slots_are_refused(hopper) -> None:
    with pytest.raises(ValueError, match="slots=4 must be at least 8"):
        _play(hopper, slots=4)


def test_results_do_not_depend_on_the_number_of_devices(hopper) -> None:
    """Three devices, in a process of its own, against the devices of this one (two or more)."""
    code = (
        "import jax; from trainers import devices; devices.use_all_cores(); jax.config.update('jax_num_cpu_devices', 3)\n"
        "import json; from tests.trainers.rollout import test_rollouts as t; from envs.brax.tasks import make_task\n"
        "task = make_task('hopper', 'v1', 60); network = t.make_network('RSNN', 11, 3, num_neurons=64)\n"
        "played = t._play((task, network, t._population(network)))\n"
        "print(json.dumps([jax.local_device_count(), played.returns.tolist()]))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    count, returns = json.loads(done.stdout)
    assert count == 3
    np.testing.assert_array_equal(_play(hopper).returns, np.float32(returns))


def test_every_episode_is_the_one_played_by_hand(hopper) -> None:
    """Each episode, stepped alone without any queue, scan or mask; short, since contacts amplify rounding."""
    _, network, params_of = hopper
    task = make_task("hopper", "v1", 16)
    played = _play((task, network, params_of))
    reset, step, apply = task.jit_reset, task.jit_step, jax.jit(network.apply)
    count = 0
    for i in (0, 7, 13):
        params = jax.tree.map(lambda p: p[0], params_of(jnp.array([MEMBERS[i]])))
        env_key, carry_key = episode_keys(jax.random.key(2), MEMBERS[i], EPISODES[i])
        state, carry, total, length = reset(env_key), network.initial_carry(carry_key), 0.0, 0
        while length < task.max_episode_steps:
            carry, action = apply(params, carry, jnp.clip(state.obs, -CLIP, CLIP))
            state = step(state, action)
            total, length = total + float(state.reward), length + 1
            if state.terminated:
                break
        assert length == played.lengths[i]
        assert total == pytest.approx(played.returns[i], rel=1e-3)
        count += length
    assert count > 30


def test_statistics_count_alive_steps_of_counted_episodes_only(hopper) -> None:
    task, network, params_of = hopper
    rollout = JittedRollout(network, task)
    normalizer = Moments(10.0, np.full(11, 0.3), np.full(11, 4.0))
    all_of_them = rollout(params_of, MEMBERS, EPISODES, jax.random.key(2), normalizer)
    assert all_of_them.moments.total == all_of_them.env_steps == all_of_them.lengths.sum()
    first, rest = MEMBERS < 4, MEMBERS >= 4
    parts = [rollout(params_of, MEMBERS, EPISODES, jax.random.key(2), normalizer, counted=c) for c in (first, rest)]
    merged = parts[0].moments.merge(parts[1].moments)
    assert merged.total == all_of_them.moments.total
    np.testing.assert_allclose(merged.mean, all_of_them.moments.mean, rtol=1e-9)
    np.testing.assert_allclose(merged.m2, all_of_them.moments.m2, rtol=1e-6)


def test_the_queue_deals_every_episode_once() -> None:
    members, episodes = np.array([7, 7, 3, 9, 9, 9, 1]), np.array([0, 1, 0, 0, 1, 2, 0])
    for devices in (1, 2, 3):
        queue = Queue.plan(members, members, episodes, devices)
        a = jax.tree.map(np.asarray, queue.arrays)
        rows = len(a.table) // devices
        for i, p in enumerate(queue.position):
            device = p // (len(a.row) // devices)
            assert a.table[device * rows + a.row[p]] == members[i]
            assert a.episode[p] == episodes[i]
        assert a.waiting.sum() == 7
        assert len(set(queue.position)) == 7


# Any VecEnv, slot by slot


@pytest.mark.parametrize("slots", [1, 5])
def test_vec_env_results_do_not_depend_on_the_number_of_slots(slots: int) -> None:
    network = make_network("RSNN", 4, 2, num_neurons=32)
    params_of = _population(network)
    runs = []
    for n in (3, slots):
        rollout = VecEnvRollout(network, make_vec_env("CartPole-v1", n, seed=n))
        runs.append(rollout(params_of, MEMBERS, EPISODES, jax.random.key(2), Moments.empty(4)))
    _same(*runs)
    assert len(set(runs[0].lengths)) > 3
    np.testing.assert_array_equal(runs[0].returns, runs[0].lengths)  # CartPole pays 1 a step
    assert runs[0].moments.total == runs[0].env_steps


def test_vec_env_in_subprocesses_gives_the_same() -> None:
    network = make_network("RSNN", 4, 2, num_neurons=32)
    params_of, runs = _population(network), []
    for cls in (None, SubprocVecEnv):
        env = make_vec_env("CartPole-v1", 2, vec_env_cls=cls)
        runs.append(VecEnvRollout(network, env)(params_of, MEMBERS[:8], EPISODES[:8], jax.random.key(2), Moments.empty(4)))
        env.close()
    _same(*runs)


def test_wrappers_that_would_be_bypassed_are_refused() -> None:
    with pytest.raises(ValueError, match="VecFrameStack cannot be used"):
        VecEnvRollout(make_network("MLP", 8, 2), VecFrameStack(make_vec_env("CartPole-v1", 1), 2))


# Images, choices, and networks that diverge


class Corridor(gymnasium.Env):
    """Six places in a row; each step pays the action (one number in [-1, 3]) and moves on by one place."""

    def __init__(self, kind: str) -> None:
        images = spaces.Box(0, 255, (20, 24, 3), np.uint8)
        self.observation_space = images if kind == "image" else spaces.Discrete(6, start=2)
        self.action_space = spaces.Box(-1.0, 3.0, (1,))

    def _observe(self):
        if isinstance(self.observation_space, spaces.Discrete):
            return self.place + 2
        return np.full((20, 24, 3), 40 * self.place, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(3))
        return self._observe(), {}

    def step(self, action):
        assert np.isfinite(action).all()
        self.place += 1
        return self._observe(), float(action[0]), self.place == 5, False, {}


def _corridor(kind: str, n: int) -> DummyVecEnv:
    return DummyVecEnv([lambda: Corridor(kind)] * n)


def _networks(network, count: int = 7):
    stacked = jax.vmap(network.init)(jax.random.split(jax.random.key(0), count))
    return jax.tree_util.Partial(lambda params, members: jax.tree.map(lambda x: x[members], params), stacked)


@pytest.mark.parametrize(
    ("kind", "name", "observation"), [("image", "HebbianCnnPolicy", (20, 24, 3)), ("choice", "HebbianPolicy", 6)]
)
def test_images_and_choices_are_played_as_by_hand_in_any_number_of_slots(kind: str, name: str, observation) -> None:
    network = make_network(name, observation, 1, hidden_sizes=[8], action_bounds="tanh")
    params_of, members = _networks(network), np.arange(7)
    runs = [
        VecEnvRollout(network, _corridor(kind, n))(params_of, members, 0 * members, jax.random.key(2), Moments.empty(0))
        for n in (3, 7)
    ]
    _same(*runs)
    assert runs[0].moments.mean.shape == (0,)
    assert all(np.isfinite(list(runs[0].metrics.values())))
    apply = jax.jit(network.apply)
    for member in (0, 6):
        params = jax.tree.map(lambda p: p[0], params_of(jnp.array([member])))
        env_key, carry_key = episode_keys(jax.random.key(2), member, 0)
        env, carry, total, done = Corridor(kind), network.initial_carry(carry_key), 0.0, False
        obs, _ = env.reset(seed=int(jax.random.bits(env_key, (), jnp.uint32) >> 1))
        while not done:
            carry, output = apply(params, carry, np.eye(6, dtype=np.float32)[obs - 2] if kind == "choice" else obs)
            obs, reward, done, _, _ = env.step(-1 + 2 * (np.asarray(output) + 1))
            total += reward
        assert runs[0].returns[member] == pytest.approx(total, rel=1e-4)
    assert len(set(runs[0].returns)) > 3


def test_slots_of_one_stream_start_alike() -> None:
    network = make_network("HebbianPolicy", 6, 1, hidden_sizes=[8])
    rollout, members = VecEnvRollout(network, _corridor("choice", 3)), np.arange(7)
    one = jax.tree.map(lambda x: jnp.repeat(x[:1], 7, axis=0), _networks(network).args[0])
    params_of = jax.tree_util.Partial(_networks(network).func, one)
    played = [
        rollout(params_of, members, 0 * members, jax.random.key(2), Moments.empty(0), streams=streams).returns
        for streams in (None, np.full(7, 5))
    ]
    assert len(set(played[0])) > 3
    np.testing.assert_array_equal(played[1], np.full(7, played[0][5]))


def test_a_network_that_gives_no_numbers_has_diverged_and_its_slot_goes_on() -> None:
    network = make_network("HebbianPolicy", 6, 1, hidden_sizes=[8], normalize="none", coefficients="uniform")
    params_of = _networks(network)
    stacked = params_of.args[0]
    broken = jax.tree.map(lambda x: x.at[2].set(1e30), stacked)
    played = [
        VecEnvRollout(network, _corridor("choice", 2))(
            jax.tree_util.Partial(params_of.func, params), np.arange(7), np.zeros(7), jax.random.key(2), Moments.empty(0)
        )
        for params in (stacked, broken)
    ]
    assert np.isfinite(played[0].returns).all()
    assert np.isnan(played[1].returns[2])
    assert played[1].lengths[2] <= played[0].lengths[2]
    others = np.arange(7) != 2
    np.testing.assert_array_equal(played[0].returns[others], played[1].returns[others])


# Statistics


def test_moments_are_those_of_the_pooled_data() -> None:
    rng = np.random.default_rng(0)
    data = [1e3 + rng.normal(size=(n, 3)) for n in (5, 100, 17)]
    shift = np.full(3, 1e3)
    merged = Moments.empty(3)
    for x in data:
        d = x - shift
        merged = merged.merge(moments_from_sums(np.array([len(x)]), d.sum(0)[None], (d**2).sum(0)[None], shift))
    pooled = np.concatenate(data)
    np.testing.assert_allclose(merged.mean, pooled.mean(0), rtol=1e-12)
    np.testing.assert_allclose(merged.std, pooled.std(0), rtol=1e-9)


def test_invalid_episodes_are_dropped_and_scaling_is_bounded() -> None:
    sums = np.array([[1.0], [np.nan]])
    moments = moments_from_sums(np.array([2, 5]), sums, np.array([[0.5], [1.0]]), np.zeros(1))
    assert moments.total == 2
    assert moments.mean[0] == 0.5
    constant = Scaling.of(Moments(10.0, np.array([5.0]), np.array([0.0])))
    np.testing.assert_array_equal(constant(jnp.array([5.0])), [0.0])
    np.testing.assert_array_equal(constant(jnp.array([1e6])), [CLIP])
