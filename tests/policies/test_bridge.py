from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.evaluation import evaluate_policy

from policies import bridge
from policies.equations.plasticity import RULES
from policies.population import Hebbian
from trainers.ec import EC
from trainers.es import ES
from trainers.rollout.normalizer import Moments

ENVS = ["CartPole-v1", "Pendulum-v1"]


@dataclass
class Reference:
    """The Hebbian network of one member in NumPy; its carry are the weights."""

    hidden_sizes: tuple[int, ...] = (6, 5)
    hebb_rule: str = "ABCD_lr_D_in_and_out"
    init_weights: str = "uniform"
    normalize: str = "max"
    output: str = "linear"
    coefficients: str = "normal"
    coefficient_scale: float = 1.0

    def apply(self, params: Any, carry: list[np.ndarray], x: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        o = [x]
        for i, w in enumerate(carry):
            y = o[-1] @ w
            o.append(np.tanh(y) if i + 1 < len(carry) or self.output == "tanh" else y)
        after = []
        for c, w, pre, post in zip(params, carry, o, o[1:], strict=False):
            i, j = pre[:, None], post[None, :]
            w = w + c["eta"] * (c["A"] * i * j + c["B"] * i + c["C"] * j + c["D"]) + c["D_out"]
            after.append(w / np.abs(w).max() if self.normalize == "max" else np.clip(w, -1, 1))
        return after, o[-1]


def hand_made(env: Any, **options: Any) -> Any:
    reference = Reference(**options)
    rng = np.random.default_rng(0)
    discrete = isinstance(env.action_space, spaces.Discrete)
    sizes = [env.observation_space.shape[0], *reference.hidden_sizes, int(env.action_space.n) if discrete else 1]
    network = Hebbian(sizes[0], sizes[-1], **vars(reference))
    params = tuple(
        {name: network.coefficient_scale * rng.normal(size=shape).astype(np.float32) for name in RULES[network.hebb_rule]}
        for shape in pairwise(sizes)
    )
    moments = Moments(10.0, rng.normal(size=sizes[0]), 10 * rng.uniform(0.01, 2, sizes[0]))
    return SimpleNamespace(
        network=network, reference=reference, params=params, moments=moments, observation_space=env.observation_space,
        action_space=env.action_space,
    )  # fmt: skip


def evolved(policy: str, env: Any, **policy_kwargs: Any) -> Any:
    """An evolved model with parameters and statistics of its own."""
    model = ES(policy, env, population_size=2, seed=0, n_envs=1, policy_kwargs=policy_kwargs)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda p: p + 0.3 * rng.normal(size=p.shape).astype(np.float32), model.policy.params)
    size = len(model.moments.mean)
    model.policy.set_mean(params, Moments(10.0, rng.normal(size=size), 10 * rng.uniform(0.01, 2, size)))
    return model


@pytest.mark.parametrize("env_id", ENVS)
@pytest.mark.parametrize("options", [{}, {"output": "tanh", "normalize": "clip", "coefficient_scale": 0.3}])
def test_hebbian_policies_act_as_the_network_over_an_episode(env_id: str, options: dict) -> None:
    env = gymnasium.make(env_id)
    source = hand_made(env, **options)
    policy = bridge.to_torch(source)
    rng = np.random.default_rng(2)
    carry = [rng.uniform(-0.1, 0.1, c["A"].shape).astype(np.float32) for c in source.params]
    state, (obs, _), done, steps = tuple(w[None] for w in carry), env.reset(seed=0), False, 0
    while not done:
        seen = np.clip((obs - source.moments.mean) / source.moments.std, -10, 10)
        carry, y = source.reference.apply(source.params, carry, seen)
        expected = 2 * np.clip(y, -1, 1) if env_id == "Pendulum-v1" else np.argmax(y)
        action, state = policy.predict(obs[None], state=state, deterministic=True)
        np.testing.assert_allclose(action[0], expected, atol=1e-5)
        for w, other in zip(state, carry, strict=True):
            np.testing.assert_allclose(w[0], other, atol=1e-4)
        obs, _, terminated, truncated, _ = env.step(action[0])
        done, steps = terminated or truncated, steps + 1
    assert steps > 5


@pytest.mark.parametrize("env_id", ENVS)
@pytest.mark.parametrize(("name", "algorithm"), [("MlpPolicy", PPO), ("LSTMPolicy", RecurrentPPO)])
def test_evolved_policies_and_their_twins_act_alike(env_id: str, name: str, algorithm: Any, tmp_path: Path) -> None:
    source = evolved(name, env_id)
    policy = bridge.to_torch(source)
    policy.save(str(tmp_path / "policy"))
    observations = 3 * np.random.default_rng(3).normal(size=(20, 5, *source.observation_space.shape)).astype(np.float32)
    observations[0, 0] = 1e4  # beyond what statistics are clipped to
    state = other = None
    starts = np.zeros(5, bool)
    for t, obs in enumerate(observations):
        starts[:] = t in (0, 11)
        expected, state = source.predict(obs, state=state, episode_start=starts, deterministic=True)
        action, other = policy.predict(obs, state=other, episode_start=starts, deterministic=True)
        np.testing.assert_allclose(action, expected, atol=1e-5)
    model = bridge.to_model(source, env_id, policy_kwargs={"log_std_init": -2.0}, n_steps=32, batch_size=32, n_epochs=1)
    assert type(model) is algorithm
    action, _ = model.predict(observations[0], deterministic=True)
    np.testing.assert_allclose(action, source.predict(observations[0])[0], atol=1e-5)
    back = bridge.to_population(policy, source)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(source.policy.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "env_id", "options"),
    [
        ("HebbianPolicy", "CartPole-v1", {}),
        ("HebbianPolicy", "Pendulum-v1", {"action_bounds": "tanh", "hebb_rule": "ABCD_lr_D_out"}),
        ("HebbianPolicy", "Pendulum-v1", {"init_weights": "coevolve", "normalize": "clip", "coefficient_scale": 0.1}),
        ("HebbianPolicy", "FrozenLake-v1", {"output": "tanh"}),
        ("HebbianCnnPolicy", "images", {"action_bounds": "tanh"}),
        ("CnnPolicy", "images", {}),
        ("MlpPolicy", "Pendulum-v1", {"bias": False}),
    ],
)
def test_evolved_networks_and_their_twins_act_alike(name: str, env_id: str, options: dict) -> None:
    env: Any = env_id
    if env_id == "images":
        env = FakeImageEnv(action_dim=3, screen_height=50, screen_width=30, n_channels=3, discrete=False)
    source = evolved(name, env, hidden_sizes=[6, 5], **options)
    policy = bridge.to_torch(source)
    carry = jax.vmap(source.policy.network.initial_carry)(jax.random.split(jax.random.key(0), 3))
    state = tuple(np.asarray(x) for x in jax.tree.leaves(carry))
    other = None if options.get("init_weights") == "coevolve" else state[:-1]  # without the flag of the first step
    source.observation_space.seed(0)
    for _ in range(10):
        obs = np.stack([source.observation_space.sample() for _ in range(3)])
        expected, state = source.predict(obs, state=state, deterministic=True)
        action, other = policy.predict(obs, state=other, deterministic=True)
        np.testing.assert_allclose(action, expected, atol=1e-4 if env_id == "images" else 1e-5)
        for a, b in zip(other, state, strict=False):
            np.testing.assert_allclose(a, b, atol=1e-4)
    back = bridge.to_population(policy, source)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(source.policy.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    if name == "MlpPolicy":
        policy.action_net.bias.data += 1.0
        with pytest.raises(ValueError, match="learned biases"):
            bridge.to_population(policy, source)


def test_evolved_coefficients_are_refined_by_gradients_and_brought_back(tmp_path: Path) -> None:
    env = gymnasium.make("CartPole-v1")
    source = hand_made(env)
    model = bridge.to_model(source, env, n_steps=32, batch_size=32, n_epochs=1, seed=0)
    unchanged = bridge.to_population(model.policy, source)
    jax.tree.map(np.testing.assert_array_equal, unchanged, source.params)
    model.learn(64)
    refined = bridge.to_population(model.policy, source)
    for old, new in zip(source.params, refined, strict=True):
        assert all(np.abs(old[name] - new[name]).max() > 1e-5 for name in old)
    np.testing.assert_allclose(model.policy.features_extractor.mean.numpy(), source.moments.mean, rtol=1e-6)
    model.save(tmp_path / "model")
    loaded = RecurrentPPO.load(tmp_path / "model", env=env)
    jax.tree.map(np.testing.assert_array_equal, bridge.to_population(loaded.policy, source), refined)
    mean, _ = evaluate_policy(loaded, env, n_eval_episodes=2, warn=False)
    assert mean >= 8


def test_coefficients_move_into_a_policy_made_by_hand() -> None:
    env = gymnasium.make("Pendulum-v1")
    source = hand_made(env)
    model = RecurrentPPO("HebbianPolicy", env, policy_kwargs=bridge.policy_kwargs(source))
    bridge.copy_into(model.policy, source)
    np.testing.assert_array_equal(model.policy.net.layers[1].eta.detach().numpy(), source.params[1]["eta"])
    assert all(
        id(p) in {id(q) for g in model.policy.optimizer.param_groups for q in g["params"]} for p in model.policy.parameters()
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_sizes": [7, 5]}, r"'lstm_actor.net.layers.0.A' is \(4, 6\), but \(4, 7\)"),
        ({"hidden_sizes": [6]}, "does not fit this policy"),
        ({"hebb_rule": "ABCD_lr"}, "hebb_rule='ABCD_lr_D_in_and_out', but this policy has hebb_rule='ABCD_lr'"),
        ({"normalize": "none"}, "normalize='max', but this policy has normalize='none'"),
        ({"output": "tanh"}, "output='linear'"),
        ({"features_extractor_class": bridge.FlattenExtractor}, "'features_extractor.mean' is .*, but missing"),
    ],
)
def test_another_architecture_is_told_and_nothing_changes(changes: dict, message: str) -> None:
    env = gymnasium.make("CartPole-v1")
    source = hand_made(env)
    model = RecurrentPPO("HebbianPolicy", env, policy_kwargs=bridge.policy_kwargs(source) | changes)
    before = {name: p.detach().clone() for name, p in model.policy.named_parameters()}
    with pytest.raises(ValueError, match=message):
        bridge.copy_into(model.policy, source)
    assert all(p.equal(before[name]) for name, p in model.policy.named_parameters())


def test_what_has_no_counterpart_is_told() -> None:
    env = gymnasium.make("CartPole-v1")
    for source, kind in (
        (EC("RSNNPolicy", "CartPole-v1", population_size=2, n_envs=1), "RSNN"),
        (ES("GRUPolicy", "CartPole-v1", population_size=2, n_envs=1), "GRU"),
    ):
        with pytest.raises(ValueError, match=f"class {kind} has no counterpart"):
            bridge.to_torch(source)
    with pytest.raises(ValueError, match="RecurrentPPO's HebbianPolicy, not ActorCriticPolicy"):
        bridge.copy_into(PPO("MlpPolicy", env).policy, hand_made(env))
    shifted = hand_made(env)
    shifted.action_space = spaces.Discrete(2, start=1)
    with pytest.raises(ValueError, match="start at 0"):
        bridge.to_torch(shifted)
