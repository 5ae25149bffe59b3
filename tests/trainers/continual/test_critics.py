"""Stacked critics against the separate ones they are made of."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from torch import nn

import policies  # noqa: F401  (the names of the spiking policies)
from trainers.continual.critics import StackedCritics, is_stackable

OBSERVATIONS = spaces.Box(-np.inf, np.inf, (5,), np.float32)
ACTIONS = spaces.Box(-1.0, 1.0, (2,), np.float32)


def critic(policy: str = "MlpPolicy", **kwargs: Any) -> Any:
    torch.manual_seed(0)
    policy_class: Any = SAC.policy_aliases[policy]
    return policy_class(OBSERVATIONS, ACTIONS, lambda _: 1e-3, **kwargs).critic


def loss(net: Any, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Something in which every value has a weight of its own."""
    values = torch.cat(net(observations, actions), dim=1)
    return (values * torch.linspace(-1, 2, values.numel()).view_as(values)).sum()


@pytest.mark.parametrize("n_critics", [1, 2, 3])
@pytest.mark.parametrize("net_arch", [[16], [16, 8], [16, 16, 16]])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_values_and_gradients_are_those_of_separate_critics(n_critics: int, net_arch: list[int], activation: Any) -> None:
    separate = critic(net_arch=net_arch, n_critics=n_critics, activation_fn=activation)
    stacked = StackedCritics(separate)
    results = []
    for net in (separate, stacked):
        torch.manual_seed(1)
        observations, actions = torch.randn(7, 5), torch.randn(7, 2, requires_grad=True)
        loss(net, observations, actions).backward()
        results.append((torch.cat(net(observations, actions), dim=1), actions.grad))
    assert results[0][0].shape == (7, n_critics)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    for k, net in enumerate(separate.q_networks):
        layers = [layer for layer in net if isinstance(layer, nn.Linear)]
        for layer, w, b in zip(layers, stacked.weights, stacked.biases, strict=True):
            torch.testing.assert_close(layer.weight.grad.T, w.grad[k], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(layer.bias.grad, b.grad[k, 0], rtol=1e-4, atol=1e-5)


def test_only_hidden_products_are_rounded() -> None:
    separate = critic(net_arch=[32, 32])
    exact, half = StackedCritics(separate), StackedCritics(separate, "bfloat16")
    observations, actions = torch.randn(16, 5), torch.randn(16, 2)
    pair = torch.cat([observations, actions], dim=1).double()
    for k, value in enumerate(half(observations, actions)):
        assert value.dtype == torch.float32
        first, second, last = (layer for layer in critic(net_arch=[32, 32]).double().q_networks[k] if type(layer) is nn.Linear)
        h = first(pair).relu().bfloat16().double()
        w, b = (x.bfloat16().double() for x in (second.weight, second.bias))
        torch.testing.assert_close(value.double(), last((h @ w.T + b).relu()), rtol=0.02, atol=0.005)
    assert not torch.equal(exact(observations, actions)[0], half(observations, actions)[0])
    loss(half, observations, actions).backward()
    assert {p.grad.dtype for p in half.parameters()} == {torch.float32}


def test_other_critics_stay_separate() -> None:
    assert is_stackable(critic())
    assert not is_stackable(critic(activation_fn=nn.PReLU))
    assert not is_stackable(critic("SpikingPolicy", critic="spiking"))
