"""Products in bfloat16 against those in float32 of rounded numbers, and networks that have them."""

import pytest
import torch
from stable_baselines3 import TD3
from stable_baselines3.common.torch_layers import create_mlp
from torch import nn

import policies  # noqa: F401  (the names of the spiking policies)
from policies.precision import BFloat16Linear, to_bfloat16
from policies.spiking import SpikingNet


def test_a_product_is_that_of_rounded_numbers() -> None:
    torch.manual_seed(0)
    layer, x = BFloat16Linear(64, 32), torch.randn(16, 64)
    rounded = x.bfloat16().double() @ layer.weight.bfloat16().double().T + layer.bias.double()
    y = layer(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.double(), rounded, rtol=2**-8, atol=2**-8)  # the sum is rounded once
    y.sum().backward()
    assert layer.weight.grad.dtype == torch.float32  # type: ignore[union-attr]
    torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(32, -1), rtol=0.03, atol=0.1)


def test_products_of_chosen_layers_are_rounded() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(*create_mlp(5, 2, [32, 32, 32]))
    x = torch.randn(8, 5)
    exact = net(x)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    parameters = list(net.parameters())
    to_bfloat16(net, slice(1, -1))
    assert [type(layer).__name__ for layer in net if isinstance(layer, nn.Linear)] == [
        "Linear",
        "BFloat16Linear",
        "BFloat16Linear",
        "Linear",
    ]
    assert all(a is b for a, b in zip(parameters, net.parameters(), strict=True))
    assert before.keys() == net.state_dict().keys()
    assert not torch.equal(net(x), exact)
    torch.testing.assert_close(net(x), exact, rtol=0.05, atol=0.02)


def test_a_spiking_net_fires_nearly_the_same_and_learns() -> None:
    nets = []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(2)
        nets.append(SpikingNet(6, 3, (64, 64), precision=precision))
    nets[1].load_state_dict(nets[0].state_dict())
    x = torch.randn(128, 6)
    exact, half = (net(x) for net in nets)
    assert not torch.equal(exact, half)
    assert (exact - half).abs().mean() < 0.1 * exact.std()
    target = torch.sin(x[:, :3])
    optimizer = torch.optim.Adam(nets[1].parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = nn.functional.mse_loss(nets[1](x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_policies_take_it_and_an_unknown_one_is_refused() -> None:
    model = TD3("SpikingPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [8], "precision": "bfloat16"}, buffer_size=10)
    assert any(isinstance(module, BFloat16Linear) for module in model.actor.modules())
    with pytest.raises(ValueError, match="Did you mean 'bfloat16'"):
        SpikingNet(2, 1, (4,), precision="float16")
