import pytest
import torch

from policies.decoders import DECODERS
from policies.encoders import ENCODERS
from policies.neurons import NEURONS
from policies.spiking import SpikingNet


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_combination(encoder: str, decoder: str, neuron: str) -> None:
    """Rows are independent of each other, gradients reach every parameter, firing starts near the asked-for rate, and a call
    from the state at rest is a call."""
    torch.manual_seed(0)
    net = SpikingNet(5, 3, [32, 32], encoder=encoder, decoder=decoder, neuron=neuron).eval()
    rates = []
    for layer in net.spiking_layers():
        layer.neurons.register_forward_hook(lambda module, inputs, out: rates.append(float(out[0].mean())))
    x = torch.randn(64, 5)
    y = net(x)
    assert y.shape == (64, 3)
    assert all(0.07 < rate < 0.25 for rate in rates), rates
    torch.testing.assert_close(net(x[:4]), y[:4])
    torch.testing.assert_close(net.run(x, net.rest(64))[0], y)
    y.square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


def test_carried_potentials_equal_running_on() -> None:
    torch.manual_seed(0)
    net = SpikingNet(5, 3, [32], decoder="membrane")
    x, y = torch.randn(2, 7, 5)
    _, state = net.run(x)
    expected, _ = net.run(y, state)
    net.carried = net.rest(7)
    net(x)
    torch.testing.assert_close(net(y), expected)
    net.carried = None
    assert not torch.allclose(net(y), expected)


def test_same_seed_same_network() -> None:
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(SpikingNet(5, 3))
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(a, b)
