from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from policies.hebbian import HebbianNet
from policies.sb3.hebbian import ActionHead, HebbianCell

SMALL = {"hidden_sizes": [6, 5], "coefficient_scale": 0.3}


def make(algorithm: Any = RecurrentPPO, env: Any = "CartPole-v1", name: str = "HebbianPolicy", **policy_kwargs: Any) -> Any:
    arguments: dict[str, Any] = (
        {"n_steps": 64, "batch_size": 48, "n_epochs": 3} if algorithm is RecurrentPPO else {"n_delta": 1}
    )
    arguments |= {"zero_policy": False} if algorithm is ARS else {}
    return algorithm(name, env, seed=0, policy_kwargs=SMALL | policy_kwargs, **arguments)


@pytest.mark.parametrize("algorithm", [RecurrentPPO, ARS])
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_predict_changes_the_weights_of_its_state_until_an_episode_starts(algorithm: Any, env: str) -> None:
    policy = make(algorithm, env).policy
    box = isinstance(policy.action_space, spaces.Box)
    observations = torch.randn(5, 3, *policy.observation_space.shape).numpy()
    starts = [np.array([t == 0, t == 0, t in (0, 3)]) for t in range(5)]
    state, seen = None, []
    for obs, start in zip(observations, starts, strict=True):
        previous = state
        action, state = policy.predict(obs, state=state, episode_start=start, deterministic=True)
        seen.append((previous, action, state))
    assert policy.net.carried is None
    for t, (previous, action, after) in enumerate(seen[1:], start=1):
        rows = [b for b in range(3) if not starts[t][b]]
        before = tuple((torch.tensor(w[rows]),) for w in previous)
        y, expected = policy.net.run(torch.tensor(observations[t][rows]), before)
        y = y.detach().numpy()
        np.testing.assert_allclose(action[rows], np.clip(2 * y, -2, 2) if box else y.argmax(1), rtol=1e-5)
        for w, (other,) in zip(after, expected, strict=True):
            np.testing.assert_allclose(w[rows], other.detach().numpy(), rtol=1e-5)
    restarted = seen[3][2][0][2] - seen[2][2][0][2]
    assert np.abs(restarted).max() > 0.5  # weights of up to 1 gave way to some within 0.1 of 0, and one step's change
    with pytest.raises(ValueError, match="shapes"):
        policy.predict(observations[0][:2], state=state)


@pytest.mark.parametrize("algorithm", [RecurrentPPO, ARS])
def test_the_same_seed_gives_the_same_training_and_play(algorithm: Any) -> None:
    results = []
    for _ in range(2):
        model = make(algorithm)
        model.learn(100)
        model.set_random_seed(3)
        state = None
        for _ in range(3):
            _, state = model.predict(np.ones((2, 4), np.float32), state=state)
        results.append(state)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.allclose(a[0], a[1], atol=1e-3)


def test_cell_draws_an_episodes_weights_again_from_the_state_before_it() -> None:
    torch.manual_seed(0)
    cell = HebbianCell(HebbianNet(3, 2, [4]))
    x, none, all_ = torch.randn(6, 2, 3), torch.zeros(6, 2), torch.ones(1, 2)
    halves = (torch.rand(1, 2, cell.hidden_size),) * 2
    _, halves = cell(x[:1], halves, all_)  # now the seeds of the two rows differ
    first, _ = cell(x, halves, torch.cat([all_, none[:5]]))
    torch.manual_seed(77)
    again, later = cell(x[:4], halves, torch.cat([all_, none[:3]]))
    rest, _ = cell(x[4:], later, none[:2])
    torch.testing.assert_close(torch.cat([again, rest]), first)
    assert not torch.allclose(cell(x, later, torch.cat([all_, none[:5]]))[0], first)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_training_sees_the_probabilities_of_the_rollout(env: str) -> None:
    """Before the first update, every minibatch's log-probabilities are those that the rollout recorded."""
    venv = DummyVecEnv([lambda: gymnasium.make(env)] * 2)
    model = RecurrentPPO("HebbianPolicy", venv, n_steps=64, seed=0, learning_rate=0.0, n_epochs=1, policy_kwargs=SMALL)
    model.learn(2 * 64 * 2)  # so that the weights of the first buffer's episodes are there as well
    starts = 0
    for batch in model.rollout_buffer.get(50):
        actions = batch.actions.long().flatten() if env == "CartPole-v1" else batch.actions
        mask = batch.mask > 1e-8
        _, log_prob, _ = model.policy.evaluate_actions(batch.observations, actions, batch.lstm_states, batch.episode_starts)
        torch.testing.assert_close(log_prob[mask], batch.old_log_prob[mask], atol=1e-4, rtol=1e-4)
        starts += int(batch.episode_starts[mask].sum())
    assert starts > 0 or env == "Pendulum-v1"


def test_recurrent_ppo_learns_to_remember() -> None:
    """The observation shows once which action pays for the rest of the episode; without memory the mean return is 4."""

    class Recall(gymnasium.Env):
        observation_space = spaces.Box(-1, 1, (2,), np.float32)
        action_space = spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.cue, self.t = int(self.np_random.integers(2)), 0
            return np.array([2 * self.cue - 1, 1], np.float32), {}

        def step(self, action):
            self.t += 1
            reward = float(action == self.cue)
            return np.array([0, 1], np.float32), reward, self.t == 8, False, {}

    kwargs = {"hidden_sizes": [8], "coefficient_scale": 0.3, "init_weights": "coevolve"}
    model = RecurrentPPO(
        "HebbianPolicy", Recall(), n_steps=256, batch_size=256, learning_rate=2e-2, seed=0, policy_kwargs=kwargs
    )
    model.learn(3072)
    mean, _ = evaluate_policy(model, Recall(), n_eval_episodes=20, warn=False)
    assert mean > 7.0


def test_gradients_reach_all_coefficients_and_coevolved_weights() -> None:
    model = make(env="Pendulum-v1", init_weights="coevolve")
    before = {name: p.detach().clone() for name, p in model.policy.named_parameters()}
    model.learn(256)
    for name, p in model.policy.named_parameters():
        assert not torch.equal(p, before[name]), name
    assert "lstm_actor.net.layers.0.w" in before


@pytest.mark.parametrize(("algorithm", "env"), [(RecurrentPPO, "Pendulum-v1"), (ARS, "CartPole-v1")])
def test_saved_models_and_policies_act_the_same(algorithm: Any, env: str, tmp_path: Path) -> None:
    model = make(algorithm, env, hebb_rule="ABCD", init_weights="coevolve", normalize="clip", output="tanh")
    model.save(tmp_path / "model")
    model.policy.save(str(tmp_path / "policy"))
    others = [algorithm.load(tmp_path / "model").policy, type(model.policy).load(str(tmp_path / "policy"))]
    states: list[Any] = [None, None, None]
    for obs in np.random.default_rng(0).normal(size=(4, 2, *model.observation_space.shape)).astype(np.float32):
        actions = []
        for i, policy in enumerate([model.policy, *others]):
            action, states[i] = policy.predict(obs, state=states[i], deterministic=True)
            actions.append(action)
        np.testing.assert_array_equal(actions[0], actions[1])
        np.testing.assert_array_equal(actions[0], actions[2])
    with pytest.raises(ValueError, match=r"other layers or another Hebbian rule: .*missing"):
        make(algorithm, env).set_parameters(str(tmp_path / "model"))


@pytest.mark.parametrize("algorithm", [RecurrentPPO, ARS])
def test_images_pass_the_published_convolutions(algorithm: Any, tmp_path: Path) -> None:
    env = FakeImageEnv(action_dim=3, screen_height=40, screen_width=30, n_channels=3)
    model = make(algorithm, env, "HebbianCnnPolicy")
    stem = model.policy.features_extractor
    assert sum(p.numel() for p in stem.parameters()) == 1362
    assert model.policy.net.features == 648
    image = torch.rand(2, 3, 84, 84)
    x = image
    for i, stride in ((0, 1), (3, 2)):
        x = torch.tanh(torch.nn.functional.conv2d(x, stem.convolutions[i].weight, stride=stride))
        side = x.shape[-1] // 2
        x = x[..., : 2 * side, : 2 * side].reshape(2, -1, side, 2, side, 2).amax((3, 5))
    torch.testing.assert_close(stem(image), x.flatten(1))
    before = stem.convolutions[0].weight.detach().clone()
    if algorithm is RecurrentPPO:
        model.learn(64)
        assert not torch.equal(before, model.policy.features_extractor.convolutions[0].weight)
    else:  # they are among what ARS evolves
        assert model.n_params == 1362 + 5 * (648 * 6 + 6 * 5 + 5 * 3)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model")
    obs = model.get_env().reset()
    model.set_random_seed(1)
    action, state = model.predict(obs, deterministic=True)
    loaded.set_random_seed(1)
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], action)
    assert [w.shape for w in state] == [(1, 648, 6), (1, 6, 5), (1, 5, 3)]


def test_actions_are_bounded_as_published() -> None:
    box = spaces.Box(np.array([-1, 0, 0], np.float32), np.ones(3, np.float32))
    y = torch.randn(50, 3)
    expected = torch.stack([torch.tanh(y[:, 0]), torch.sigmoid(y[:, 1]), torch.sigmoid(y[:, 2])], 1)
    torch.testing.assert_close(ActionHead(box, "car_racing")(y), expected)
    torch.testing.assert_close(ActionHead(spaces.Box(-2, 2, (3,)), "tanh")(y), 2 * torch.tanh(y))
    torch.testing.assert_close(ActionHead(spaces.Box(0, 4, (3,)), "clip")(y), 2 + 2 * y)
    assert ActionHead(spaces.Box(-np.inf, np.inf, (3,)), "clip")(y) is y
    with pytest.raises(ValueError, match="Did you mean 'tanh'"):
        make(action_bounds="tan")
    with pytest.raises(ValueError, match="steering, gas and brake"):
        make(env="Pendulum-v1", action_bounds="car_racing")


@pytest.mark.parametrize(
    ("algorithm", "env"),
    [(a, "Pendulum-v1") for a in (PPO, A2C, TRPO, TD3, DDPG, SAC, TQC, CrossQ)]
    + [(a, "CartPole-v1") for a in (DQN, QRDQN, MaskablePPO)],
)
def test_algorithms_that_lose_the_weights_refuse(algorithm: Any, env: str) -> None:
    for name in ("HebbianPolicy", "HebbianCnnPolicy"):
        with pytest.raises(ValueError, match=r"RecurrentPPO or ARS of sb3_contrib, or evolve it with trainers\.es"):
            algorithm(name, env)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hebb_rule": "ABC_l"}, "Did you mean 'ABC_lr'"),
        ({"lstm_hidden_size": 8}, "no 'lstm_hidden_size'"),
        ({"net_arch": {"pi": [8], "vf": [8]}}, "one list of sizes"),
    ],
)
def test_bad_arguments_are_told(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_wrong_observations_and_zeros_are_told() -> None:
    with pytest.raises(ValueError, match="use HebbianCnnPolicy"):
        make(env=FakeImageEnv())
    with pytest.raises(ValueError, match="use HebbianPolicy"):
        make(name="HebbianCnnPolicy")
    with pytest.raises(ValueError, match="zero_policy=False"):
        ARS("HebbianPolicy", "CartPole-v1")
    ARS("HebbianPolicy", "CartPole-v1", policy_kwargs={"hebb_rule": "ABCD"})
    with pytest.raises(ValueError, match="use_sde"):
        RecurrentPPO("HebbianPolicy", "Pendulum-v1", use_sde=True)
