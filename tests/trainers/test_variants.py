"""Fitness over several variants of an environment."""

from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces

from trainers import checkpoint
from trainers.es import ES
from trainers.evolution import EvolutionAlgorithm
from trainers.rollout.types import episode_keys
from trainers.strategies import EvolutionStrategy
from trainers.variants import FITNESS, Variants

STEPS = 5


class Lane(gymnasium.Env):
    """A point that is pushed along a line and pays for each step how far it is, times `gain`."""

    metadata = {"render_modes": ["rgb_array"]}
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, gain: float = 1.0, size: int = 2) -> None:
        self.observation_space = spaces.Box(-10, 10, (size,), np.float32)
        self.gain = gain

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.x = 0, self.np_random.uniform(-1, 1)
        return self._obs(), {}

    def step(self, action):
        self.steps += 1
        self.x += 0.1 * float(action[0])
        return self._obs(), self.gain * self.x, False, self.steps == STEPS, {}

    def _obs(self):
        return np.full(self.observation_space.shape, self.x, np.float32)


@pytest.fixture(autouse=True, scope="module")
def _registered():
    gymnasium.register("Lane-v0", Lane)
    yield
    del gymnasium.registry["Lane-v0"]


def _es(n_envs: int = 3, policy: str = "MlpPolicy", **kwargs) -> ES:
    options = {"population_size": 6, "eval_episodes": 2, "episodes": 2, "seed": 0, "policy_kwargs": {"hidden_sizes": [4]}}
    return ES(policy, "Lane-v0", n_envs=n_envs, **(options | {"variants": {"gain": [1.0, -2.0]}} | kwargs))


def _spy(model: EvolutionAlgorithm) -> list:
    """What the rollout gave in each generation."""
    played, rollout = [], model._rollout

    def play(*args, **kwargs):
        played.append(rollout(*args, **kwargs))
        return played[-1]

    model.__dict__["_rollout"] = play
    return played


@pytest.mark.parametrize("fitness", ["mean", "min"])
def test_fitness_is_taken_over_the_variants(fitness: str) -> None:
    model = _es(variant_fitness=fitness)
    played = _spy(model)
    given = []
    update = model._update
    model._update = lambda state, key, fitness: given.append(np.asarray(fitness)) or update(state, key, fitness)
    (row,) = model.learn(generations=1).history
    returns = played[0].returns
    assert returns.shape == (2 * (2 + 6 * 2),)
    near, far = (part[2:].reshape(6, 2).mean(axis=1) for part in (returns[:14], returns[14:]))
    expected = (near + far) / 2 if fitness == "mean" else np.minimum(near, far)
    np.testing.assert_allclose(given[0], expected, rtol=1e-6)
    assert row["rollout/ep_rew_mean"] == pytest.approx(expected.mean())
    assert row["rollout/ep_rew_mean/1.0"] == pytest.approx(near.mean())
    assert row["rollout/ep_rew_mean/-2.0"] == pytest.approx(far.mean())
    deployed = [returns[:2].mean(), returns[14:16].mean()]
    assert [row["eval/mean_reward/1.0"], row["eval/mean_reward/-2.0"]] == pytest.approx(deployed)
    assert row["eval/mean_reward"] == pytest.approx(getattr(np, fitness)(deployed))
    assert row["time/total_timesteps"] == played[0].env_steps == STEPS * 28
    assert played[0].moments.total == STEPS * 24  # those of the deployed network do not count


def test_fitness_does_not_depend_on_the_number_of_environments() -> None:
    histories = [_es(n).learn(generations=3).history for n in (1, 2, 5)]
    for history in histories[1:]:
        for a, b in zip(histories[0], history, strict=True):
            assert {k: v for k, v in a.items() if not k.startswith("time/")} == {
                k: v for k, v in b.items() if not k.startswith("time/")
            }


@pytest.mark.parametrize("shared", [False, True])
def test_networks_start_alike_in_all_variants_only_when_asked_to(shared: bool) -> None:
    """Seen in the keys that the slots are started with, those of the environments and of the networks."""
    model, starts = _es(shared_start=shared), []

    def watch(start):
        def started(params_of, params, carry, slot, keys, member, stream, episode):
            drawn = (episode_keys(key, stream, episode)[i] for i, key in enumerate(keys))
            starts.append([member, episode, *(tuple(jax.random.key_data(key).tolist()) for key in drawn)])
            return start(params_of, params, carry, slot, keys, member, stream, episode)

        return started

    for rollout in model._rollout.rollouts:
        rollout._start = watch(rollout._start)
    model.learn(generations=1)
    first, second = starts[:14], starts[14:]
    assert [s[:2] for s in first] == [s[:2] for s in second]
    assert len({s[2] for s in starts}) == 28
    assert len({s[3] for s in starts}) == (14 if shared else 28)
    assert all((a[3] == b[3]) is shared for a, b in zip(first, second, strict=True))


def test_a_resumed_run_goes_on_exactly(tmp_path: Path) -> None:
    kwargs = {"learning_rate": "exp_0.2_0.9_0.01", "sigma": "exp_0.1_0.9_0.01", "ranks": "standardized", "l2": 0.01}
    kwargs |= {"optimizer": "sgd", "variant_fitness": "min", "shared_start": True}
    _es(**kwargs).learn(generations=4).save(tmp_path / "whole")
    _es(**kwargs).learn(generations=2).save(tmp_path / "half")
    loaded = ES.load(tmp_path / "half", "Lane-v0", n_envs=2)
    assert loaded.arguments() == _es(**kwargs).arguments()
    loaded.learn(generations=4, reset_num_timesteps=False).save(tmp_path / "loaded")
    a, b = (checkpoint.load(tmp_path / f"{name}.zip")[0] for name in ("whole", "loaded"))
    assert a.keys() == b.keys()
    for name in a.keys() - {"history/time/seconds", "history/time/fps"}:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    np.testing.assert_allclose(a["history/train/learning_rate"], 0.2 * 0.9 ** np.arange(4), rtol=1e-6)
    np.testing.assert_allclose(a["history/train/sigma"], 0.1 * 0.9 ** np.arange(4), rtol=1e-6)


def test_a_model_of_variants_is_evaluated_on_another(tmp_path: Path) -> None:
    _es().learn(generations=1).save(tmp_path / "m")
    model = ES.load(tmp_path / "m", "Lane-v0", variants=None, env_kwargs={"gain": 100.0})
    one = ES.load(tmp_path / "m", "Lane-v0", variants=None)
    np.testing.assert_allclose(model.evaluate_mean(3, 7).returns, 100 * one.evaluate_mean(3, 7).returns, rtol=1e-5)
    assert ES.load(tmp_path / "m", "Lane-v0").evaluate_mean(3, 7).returns.shape == (6,)


def test_diverged_in_one_variant_is_diverged() -> None:
    returns = np.array([[1.0, np.nan], [3.0, 4.0]])
    for combine in FITNESS.values():
        np.testing.assert_array_equal(np.isnan(combine(returns)), [False, True])


def test_bad_variants_are_refused_in_a_sentence() -> None:
    for table, sentence in (
        ({"gain": [1.0], "size": [2]}, "variants are of one argument, but these are of gain, size"),
        ({"gain": "none"}, "must be a list of values, but are 'none'"),
        ({"gain": [1.0, 1.0]}, r"variants of gain must differ, but are 1\.0, 1\.0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            Variants.of(table)
    with pytest.raises(ValueError, match=r"same spaces, but the observation_space with size=2 is Box.*, and with size=3 Box"):
        _es(variants={"size": [2, 3]})
    with pytest.raises(ValueError, match="gain is varied already; leave gain out of env_kwargs"):
        _es(env_kwargs={"gain": 1.0})
    with pytest.raises(ValueError, match="Lane-v0 has no option 'gian'"):
        _es(variants={"gian": [1, 2]})
    with pytest.raises(ValueError, match=r"Unknown variant_fitness 'max'\. Did you mean"):
        _es(variant_fitness="max")
    with pytest.raises(ValueError, match="made from an environment's id; give an id, or variants=None"):
        ES("MlpPolicy", Lane(), variants={"gain": [1.0, 2.0]})


@pytest.mark.slow
def test_brax_damages_share_a_program_and_play_as_by_themselves() -> None:
    from envs.brax.tasks import make_task
    from policies.population import make_network
    from trainers.rollout.jitted import JittedRollout, task_rollouts
    from trainers.rollout.normalizer import Moments

    tasks = [make_task("ant", "v1", 6, damage) for damage in ("none", "front_left_short")]
    network = make_network("MLP", tasks[0].observation_size, tasks[0].action_size, hidden_sizes=(4,))
    strategy = EvolutionStrategy(8)
    state = strategy.init(jax.random.key(0), network.init(jax.random.key(1)))._replace(sigma=jax.numpy.float32(1.0))
    asked = (jax.tree_util.Partial(strategy.sample, state, jax.random.key(2)), np.arange(8), np.zeros(8, int))
    asked = (*asked, jax.random.key(3), Moments.empty(tasks[0].observation_size))
    together = [rollout(*asked).returns for rollout in task_rollouts(network, tasks, 1)]
    alone = [JittedRollout(network, task)(*asked).returns for task in tasks]
    assert (together[0] != together[1]).all()
    np.testing.assert_allclose(together, alone, rtol=1e-3)
