from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from sb3_contrib import TRPO, RecurrentPPO
from stable_baselines3 import DDPG, PPO, SAC, TD3

import policies
from policies.sb3.common import acting_net
from policies.sb3.recurrent import SpikingCell
from policies.spiking import SpikingNet

SMALL = {"net_arch": [16, 16]}


def make(algorithm: Any = TD3, env: str = "Pendulum-v1", **policy_kwargs: Any) -> Any:
    name = "SpikingRecurrentPolicy" if algorithm is RecurrentPPO else "SpikingPolicy"
    return algorithm(name, env, seed=0, policy_kwargs=SMALL | policy_kwargs)


def test_default_is_a_spiking_actor_beside_mlp_critics_with_equal_targets() -> None:
    policy = TD3("SpikingPolicy", "Pendulum-v1", seed=0).policy
    net = acting_net(policy)
    assert [layer.neurons.size for layer in net.spiking_layers()] == [256, 256]
    assert net.n_timesteps == 4
    assert not any(isinstance(module, SpikingNet) for module in policy.critic.modules())
    for a, b in zip(policy.actor.parameters(), policy.actor_target.parameters(), strict=True):
        assert torch.equal(a, b)
    assert TD3.policy_aliases is not DDPG.policy_aliases
    assert policies.register_policies is not None


def test_actions_of_a_row_do_not_depend_on_the_others() -> None:
    model = make()
    obs = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    together, state = model.predict(obs)
    assert state is None
    alone = np.concatenate([model.predict(row[None])[0] for row in obs])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_learning_rates_of_coders_are_multiples_of_the_schedule(tmp_path: Path) -> None:
    model = make(lr_scale=0.5, coder_lr_scale=4.0)
    optimizer = model.actor.optimizer
    net = acting_net(model.policy)
    scales = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    assert scales[id(net.encoder.map.weight)] == 2.0
    assert scales[id(net.decoder.map.weight)] == 2.0
    assert scales[id(net.spiking_layers()[0].linear.weight)] == 0.5
    for parameter in model.actor.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: p.detach().clone() for name, p in model.actor.named_parameters()}
    optimizer.step()  # Adam's first step has the length of the learning rate
    after = dict(model.actor.named_parameters())
    moved = {name: float((before[name] - after[name].detach()).abs().max()) for name in before}
    assert moved["mu.0.encoder.map.weight"] == pytest.approx(2.0 * 1e-3, rel=1e-3)
    assert moved["mu.0.layers.1.linear.weight"] == pytest.approx(0.5 * 1e-3, rel=1e-3)
    assert {group["lr"] for group in optimizer.param_groups} == {1e-3}
    model.learn(120)
    model.save(tmp_path / "model")
    loaded = TD3.load(tmp_path / "model")
    assert [group["lr_scale"] for group in loaded.actor.optimizer.param_groups] == [
        group["lr_scale"] for group in optimizer.param_groups
    ]


@pytest.mark.parametrize("algorithm", [TD3, SAC, PPO])
def test_stateful_predict_runs_on_and_restarts_where_an_episode_does(algorithm: Any) -> None:
    model = make(algorithm, stateful=True, decoder="membrane")
    plain = acting_net(model.policy)
    observations = np.random.default_rng(1).normal(size=(5, 3, 3)).astype(np.float32)
    state, starts = None, np.ones(3, bool)
    actions = []
    for t, obs in enumerate(observations):
        action, state = model.predict(obs, state=state, episode_start=starts, deterministic=True)
        actions.append(action)
        starts = np.array([False, t == 2, False])
    assert plain.carried is None
    fresh, _ = model.predict(observations[3], episode_start=np.ones(3, bool), deterministic=True)
    np.testing.assert_allclose(actions[3][1], fresh[1], atol=1e-6)
    assert not np.allclose(actions[3][0], fresh[0], atol=1e-6)
    with pytest.raises(ValueError, match="shapes"):
        model.predict(observations[0][:2], state=state)


def test_trust_regions_need_and_get_second_derivatives() -> None:
    model = TRPO("SpikingPolicy", "Pendulum-v1", n_steps=128, batch_size=64, seed=0, policy_kwargs=SMALL, verbose=0)
    assert not any(layer.neurons.fused for layer in acting_net(model.policy).spiking_layers())
    model.learn(128)
    assert model.logger.name_to_value["train/is_line_search_success"] in (0.0, 1.0)
    assert np.isfinite(model.logger.name_to_value["train/kl_divergence_loss"])


def test_recurrent_cell_is_the_network_run_on() -> None:
    torch.manual_seed(0)
    net = SpikingNet(4, 2, [8], neuron="synaptic_lif", neuron_kwargs={"v_rest": 0.1}, decoder="membrane")
    cell = SpikingCell(net)
    x = torch.randn(6, 5, 4)
    zeros = torch.zeros(1, 5, cell.hidden_size)
    outputs, halves = cell(x[:4], (zeros, zeros))
    rest, _ = cell(x[4:], halves)
    state, expected = net.rest(5), []
    for obs in x:
        y, state = net.run(obs, state)
        expected.append(y)
    torch.testing.assert_close(torch.cat([outputs, rest]), torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_recurrent_policy_learns_to_remember() -> None:
    """The observation shows once which action pays for the rest of the episode; without memory the mean return is 4."""

    class Recall(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.cue, self.t = int(self.np_random.integers(2)), 0
            return np.array([2 * self.cue - 1, 1], np.float32), {}

        def step(self, action):
            self.t += 1
            reward = float(action == self.cue)
            return np.zeros(2, np.float32), reward, self.t == 8, False, {}

    kwargs = {"net_arch": [16], "decoder": "membrane", "decoder_kwargs": {"decay": 1.0}}
    model = RecurrentPPO(
        "SpikingRecurrentPolicy", Recall(), n_steps=256, batch_size=256, learning_rate=5e-3, seed=0, policy_kwargs=kwargs
    )
    model.learn(4000)
    env = Recall()
    total = 0.0
    for episode in range(20):
        obs, _ = env.reset(seed=episode)
        state, start, done = None, np.ones(1, bool), False
        while not done:
            action, state = model.predict(obs[None], state=state, episode_start=start, deterministic=True)
            obs, reward, done, _, _ = env.step(int(action[0]))
            start, total = np.zeros(1, bool), total + reward
    assert total / 20 > 7.0


@pytest.mark.parametrize(
    ("algorithm", "arguments", "message"),
    [
        (TD3, {"critic": "mlpp"}, "Did you mean 'mlp'"),
        (TD3, {"encoder": "adaptve"}, "Did you mean 'adaptive'"),
        (TD3, {"n_timesteps": 0}, "n_timesteps=0"),
        (TD3, {"lr_scale": 0.0}, "lr_scale=0.0"),
        (PPO, {"encoder": "rate"}, "draws at random"),
        (PPO, {"encoder": "population", "encoder_kwargs": {"coding": "poisson"}}, "draws at random"),
        (RecurrentPPO, {"stateful": True}, "always keeps its state"),
        (RecurrentPPO, {"lstm_hidden_size": 8}, "no 'lstm_hidden_size'"),
    ],
)
def test_bad_arguments_are_told(algorithm: Any, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(algorithm, **arguments)


def test_state_dependent_exploration_is_refused() -> None:
    with pytest.raises(ValueError, match="use_sde"):
        SAC("SpikingPolicy", "Pendulum-v1", use_sde=True)


def test_loading_into_another_coder_is_told(tmp_path: Path) -> None:
    make().save(tmp_path / "model")
    other = make(encoder="direct")
    with pytest.raises(ValueError, match="other coders"):
        other.set_parameters(str(tmp_path / "model"))
