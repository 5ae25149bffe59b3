"""SAC as the continual methods use it, against its equations and against Stable-Baselines3's."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger
from torch import Tensor
from torch.nn import functional

from trainers.continual.methods.ft_1 import FineTuneOne
from trainers.continual.sac import SAMPLED_AT_ONCE, ContinualSAC


@pytest.fixture
def model(actors, learner, judge) -> Any:
    """A learner that has played and not yet learned, whose optimisers make plain steps of the gradient."""

    def build(**kwargs: Any) -> ContinualSAC:
        torch.manual_seed(0)
        method = FineTuneOne(actors(), 2)
        method.before_task(0, judge())
        made = learner(method, learning_starts=1000, **kwargs).learn(60)
        made.critic.optimizer = torch.optim.SGD(made.critic.parameters(), lr=0.01)
        made.actor.optimizer = torch.optim.SGD(made.actor.parameters(), lr=0.02)
        if made.log_ent_coef is not None:
            made.ent_coef_optimizer = torch.optim.SGD([made.log_ent_coef], lr=0.03)
        return made

    return build


def _gaussian_action(actor: Any, states: Tensor) -> tuple[Tensor, Tensor]:
    """tanh of a draw, and its log-probability by the formula that is exact for large |u|."""
    mean, log_std, _ = actor.get_action_dist_params(states)
    eps = torch.normal(torch.zeros_like(mean), torch.ones_like(mean))
    u = mean + log_std.exp() * eps
    normal = -0.5 * eps.square() - log_std - 0.5 * math.log(2 * math.pi)
    return u.tanh(), (normal - 2 * (math.log(2) - u - functional.softplus(-2 * u))).sum(1)


@pytest.mark.parametrize("n_steps", [1, 3])
def test_an_update_is_that_of_the_equations(n_steps: int, model) -> None:
    own = model(
        gamma=0.9, tau=0.1, reward_scale=2.0, ent_coef="auto_0.5", target_entropy=-3.0, n_steps=n_steps, terminates=True
    )
    actor, critic, target = (copy.deepcopy(net) for net in (own.actor, own.critic, own.critic_target))
    for parameter in target.parameters():  # unlike the critics
        parameter.data += 0.1 * torch.randn_like(parameter)
    own.critic_target.load_state_dict(target.state_dict())
    np.random.seed(3)  # noqa: NPY002  (that of SB3's buffer)
    batch = own.replay_buffer.sample(32)
    assert 0 < batch.dones.sum() < 32
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(4)
    own.update(own.replay_buffer.sample(32))

    torch.manual_seed(4)
    with torch.no_grad():
        following, log_prob = _gaussian_action(actor, batch.next_observations)
        values = torch.min(*target(batch.next_observations, following))[:, 0] - 0.5 * log_prob
        discount = 0.9 if n_steps == 1 else batch.discounts[:, 0]
        wanted = 2.0 * batch.rewards[:, 0] + (1 - batch.dones[:, 0]) * discount * values
    loss = sum(((q[:, 0] - wanted) ** 2).mean() for q in critic(batch.observations, batch.actions))
    for parameter, grad in zip(critic.parameters(), torch.autograd.grad(loss, list(critic.parameters())), strict=True):
        parameter.data -= 0.01 * grad
    actions, log_prob = _gaussian_action(actor, batch.observations)
    loss = (0.5 * log_prob - torch.min(*critic(batch.observations, actions))[:, 0]).mean()
    for parameter, grad in zip(actor.parameters(), torch.autograd.grad(loss, list(actor.parameters())), strict=True):
        parameter.data -= 0.02 * grad
    log_temperature = math.log(0.5) + 0.03 * (log_prob.mean().item() - 3.0)
    for parameter, moved in zip(target.parameters(), critic.parameters(), strict=True):
        parameter.data += 0.1 * (moved - parameter)

    for net, expected in ((own.critic, critic), (own.actor, actor), (own.critic_target, target)):
        for a, b in zip(net.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert own.log_ent_coef.item() == pytest.approx(log_temperature, abs=1e-4)


def separate_critics(policy: Any) -> dict[str, Tensor]:
    """A policy's parameters under the names that Stable-Baselines3 has for them."""
    state = {name: value for name, value in policy.state_dict().items() if not name.startswith("critic")}
    for name in ("critic", "critic_target"):
        stack = getattr(policy, name)
        for layer, (weights, biases) in enumerate(zip(stack.weights, stack.biases, strict=True)):
            for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
                state |= {f"{name}.qf{k}.{2 * layer}.weight": w.detach().T, f"{name}.qf{k}.{2 * layer}.bias": b.detach()[0]}
    return state


@pytest.mark.parametrize("n_steps", [1, 3])
def test_batches_that_are_drawn_together_are_those_of_one_large_one(n_steps: int, model) -> None:
    own = model(n_steps=n_steps)
    np.random.seed(3)  # noqa: NPY002
    batches = list(own.sample(5, 16))
    np.random.seed(3)  # noqa: NPY002
    large = own.replay_buffer.sample(80)
    assert [len(batch.rewards) for batch in batches] == [16] * 5
    for name in ("observations", "actions", "next_observations", "dones", "rewards"):
        assert torch.equal(torch.cat([getattr(batch, name) for batch in batches]), getattr(large, name))
    if n_steps == 1:
        assert all(batch.discounts is None for batch in batches)
    else:
        assert torch.equal(torch.cat([batch.discounts for batch in batches]), large.discounts)


def test_as_many_updates_as_were_asked_for(model) -> None:
    own = model()
    own.train(2 * SAMPLED_AT_ONCE + 3, 8)
    assert own._n_updates == 2 * SAMPLED_AT_ONCE + 3


def test_without_noise_and_entropy_an_update_is_that_of_stable_baselines(model) -> None:
    """Whose critics' loss has a factor of a half, so that their rate is twice as large."""
    own = model(ent_coef=0.0)
    with torch.no_grad():
        own.actor.log_std.weight.zero_()
        own.actor.log_std.bias.fill_(-30.0)
    other = SAC("MlpPolicy", own.env, ent_coef=0.0, learning_rate=0.02, seed=0, device="cpu", policy_kwargs=own.policy_kwargs)
    other.policy.load_state_dict(separate_critics(own.policy))
    other.replay_buffer = own.replay_buffer
    other.set_logger(Logger(None, []))
    other.critic.optimizer = torch.optim.SGD(other.critic.parameters(), lr=0.02)
    other.actor.optimizer = torch.optim.SGD(other.actor.parameters(), lr=0.02)
    for algorithm in (own, other):
        np.random.seed(3)  # noqa: NPY002
        for _ in range(3):  # one by one, since several batches are drawn together
            algorithm.train(1, 8)
    learned = separate_critics(own.policy)
    for name, value in other.policy.state_dict().items():
        torch.testing.assert_close(learned[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_how_often_actors_and_targets_are_updated(model) -> None:
    own = model(policy_delay=3, target_update_interval=4)
    acted, moved = [], []
    for i in range(9):
        before = own.critic_target.weights[0].clone()
        acted.append("train/actor_loss" in own.update(own.replay_buffer.sample(8)))
        if not torch.equal(before, own.critic_target.weights[0]):
            moved.append(i)
    assert np.flatnonzero(acted).tolist() == [0, 3, 6]
    assert moved == [3, 7]


@pytest.mark.parametrize("terminates", [False, True])
def test_values_go_on_beyond_time_limits(terminates: bool, model) -> None:
    own = model(terminates=terminates)
    buffer = own.replay_buffer
    assert buffer.dones[: buffer.pos].sum() == 2 * 3  # in thirty steps of two environments with episodes of nine
    np.random.seed(0)  # noqa: NPY002
    assert (buffer.sample(200).dones.sum() > 0) == terminates


def test_rates_and_whose_parameters_they_move(actors, learner, judge) -> None:
    method = FineTuneOne(actors(), 2)
    method.before_task(0, judge())
    own = learner(method, learning_rate=2e-3, critic_learning_rate=5e-4)
    assert [group["lr"] for o in (own.actor, own.critic) for group in o.optimizer.param_groups] == [2e-3, 5e-4]
    assert own.actor is own.policy.actor is method.actor
    first = own.actor.optimizer
    own.learn(30)
    assert first.state
    own.attach()
    assert not own.actor.optimizer.state


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"policy_delay": 0}, "policy_delay=0 must be at least 1"),
        ({"target_update_interval": 0}, "target_update_interval=0 must be at least 1"),
        ({"critic_learning_rate": 0.0}, r"critic_learning_rate=0\.0 must be positive"),
        ({"reward_scale": -1.0}, r"reward_scale=-1\.0 must be positive"),
        ({"learning_rate": lambda progress: 1e-3}, "constant learning_rate"),
        ({"use_sde": True}, "no state-dependent exploration"),
    ],
)
def test_bad_arguments(kwargs: dict, message: str, actors, learner) -> None:
    with pytest.raises(ValueError, match=message):
        learner(FineTuneOne(actors(), 2), **kwargs)


def test_spiking_critics_learn_in_float32_alone(actors, learner, judge) -> None:
    method = FineTuneOne(actors("SpikingPolicy"), 2)
    method.before_task(0, judge())
    networks = {"net_arch": [16, 16], "critic": "spiking"}
    with pytest.raises(ValueError, match="precision='bfloat16' is for critics that are MLPs"):
        learner(method, "SpikingPolicy", precision="bfloat16", policy_kwargs=networks)
    own = learner(method, "SpikingPolicy", policy_kwargs=networks)
    before = [parameter.clone() for parameter in own.critic.parameters()]
    own.learn(60)
    assert any(not torch.equal(a, b) for a, b in zip(before, own.critic.parameters(), strict=True))
