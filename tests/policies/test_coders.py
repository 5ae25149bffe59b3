import math

import numpy as np
import pytest
import torch

from policies.decoders import AdaptiveDecoder, LateralDecoder, MembraneDecoder, PopulationDecoder, RateDecoder
from policies.encoders import AdaptiveEncoder, DirectEncoder, LatencyEncoder, PopulationEncoder, RateEncoder
from policies.spiking import SpikingNet

NEURON = {"neuron": "lif"}


def test_adaptive_encoder_is_one_affine_map_with_time_outermost() -> None:
    encoder = AdaptiveEncoder(3, 4)
    x = torch.randn(5, 3)
    currents, _ = encoder(x)
    flat = x @ encoder.map.weight.T + encoder.map.bias
    for t in range(4):
        torch.testing.assert_close(currents[t], flat[:, 3 * t : 3 * t + 3])


def test_time_only_encoder_mixes_no_features() -> None:
    encoder = AdaptiveEncoder(3, 4, time_only=True)
    assert sum(p.numel() for p in encoder.parameters()) == 2 * 3 * 4
    x = torch.randn(1, 3, requires_grad=True)
    encoder(x)[0][:, 0, 1].sum().backward()
    assert x.grad[0, 1] != 0
    assert x.grad[0, [0, 2]].tolist() == [0, 0]


@pytest.mark.parametrize("time_only", [False, True])
def test_an_adaptive_encoder_can_begin_as_constant_input(time_only: bool) -> None:
    x = torch.randn(5, 3)
    currents, _ = AdaptiveEncoder(3, 4, time_only, initial="repeat")(x)
    assert torch.equal(currents, x.expand(4, 5, 3))
    assert not torch.equal(AdaptiveEncoder(3, 4, time_only)(x)[0], currents)


def test_population_encoder_fires_as_the_published_loop() -> None:
    encoder = PopulationEncoder(2, 6, n_pop=10, squash="none")
    x = np.array([[0.3, -1.2], [2.9, 0.0]])
    spikes, _ = encoder(torch.tensor(x, dtype=torch.float32))
    centres = np.linspace(-3, 3, 10)
    activity = np.exp(-((x[:, :, None] - centres) ** 2) / (2 * 0.15)).reshape(2, 20)
    v = np.zeros((2, 20))
    for t in range(6):
        v += activity
        fired = v > 0.999
        v -= 0.999 * fired
        np.testing.assert_array_equal(spikes[t].detach().numpy(), fired)
    assert spikes.sum() > 4


def test_population_currents_and_chance() -> None:
    direct = PopulationEncoder(2, 5, coding="direct")
    x = torch.randn(3, 2)
    currents, _ = direct(x)
    assert currents.shape == (1, 3, 20)
    expected = torch.exp(-((torch.tanh(x)[:, :, None] - torch.linspace(-1, 1, 10)) ** 2) / (2 * 0.05)).flatten(1)
    torch.testing.assert_close(currents[0], expected)
    poisson = PopulationEncoder(2, 4000, coding="poisson")
    spikes, _ = poisson(x)
    torch.testing.assert_close(spikes.mean(0), expected, atol=0.05, rtol=0)
    poisson.eval()
    first, _ = poisson(x)
    second, _ = poisson(x)
    assert torch.equal(first, second)
    torch.testing.assert_close(first.mean(0), expected, atol=0.01, rtol=0)


def test_rate_encoder_passes_gradients_straight() -> None:
    encoder = RateEncoder(1, 8)
    x = torch.tensor([[0.4]], requires_grad=True)
    encoder(x)[0].sum().backward()
    assert x.grad.item() == pytest.approx(8 * 0.5 * (1 - math.tanh(0.4) ** 2), rel=1e-5)


def test_latency_encoder_fires_once_and_large_values_first() -> None:
    spikes, _ = LatencyEncoder(3, 9)(torch.tensor([[10.0, 0.0, -10.0]]))
    assert spikes.sum(0).tolist() == [[1, 1, 1]]
    assert spikes.argmax(0).tolist() == [[0, 4, 8]]


def test_direct_encoder_gives_what_repeating_would() -> None:
    torch.manual_seed(0)
    net = SpikingNet(4, 2, [16], encoder="direct", n_timesteps=5)
    x = torch.randn(6, 4)
    h, _ = DirectEncoder(4, 5)(x)
    assert h.shape == (1, 6, 4)
    spikes, _ = net.spiking_layers()[0](x.expand(5, -1, -1))
    torch.testing.assert_close(net(x), net.decoder(spikes)[0])


def _spikes() -> torch.Tensor:
    return (torch.rand(5, 3, 8, generator=torch.Generator().manual_seed(0)) < 0.3).float()


def test_linear_decoders_are_their_formulas() -> None:
    s = _spikes()
    adaptive = AdaptiveDecoder(8, 2, 5, NEURON)
    expected = sum(s[t] @ adaptive.map.weight[:, 8 * t : 8 * t + 8].T for t in range(5)) + adaptive.map.bias
    torch.testing.assert_close(adaptive(s)[0], expected)
    rate = RateDecoder(8, 2, 5, NEURON)
    torch.testing.assert_close(rate(s)[0], s.mean(0) @ rate.map.weight.T + rate.map.bias)


@pytest.mark.parametrize("read", ["last", "max", "mean"])
def test_membrane_decoder_accumulates(read: str) -> None:
    s = _spikes()
    decoder = MembraneDecoder(8, 2, 5, NEURON, read=read, decay=0.6)
    v, seen = torch.zeros(3, 2), []
    for t in range(5):
        v = 0.6 * v + decoder.map(s[t])
        seen.append(v)
    expected = {"last": seen[-1], "max": torch.stack(seen).amax(0), "mean": torch.stack(seen).mean(0)}[read]
    torch.testing.assert_close(decoder(s)[0], expected)


def test_population_decoder_reads_each_output_from_its_own_group() -> None:
    s = _spikes()
    decoder = PopulationDecoder(8, 2, 5, NEURON, n_pop=3)
    own, _ = decoder.neurons(decoder.linear(s))
    rates = own.mean(0)
    for a in range(2):
        expected = rates[:, 3 * a : 3 * a + 3] @ decoder.weight[a] + decoder.bias[a]
        torch.testing.assert_close(decoder(s)[0][:, a], expected)


def test_lateral_decoder_is_the_written_out_loop() -> None:
    s = _spikes()
    decoder = LateralDecoder(8, 2, 5, {"neuron": "synaptic_lif"}, n_pop=3, decay=0.9)
    with torch.no_grad():
        currents = decoder.linear(s)
        v, i_syn, last, m = torch.zeros(3, 6), torch.zeros(3, 6), torch.zeros(3, 6), torch.zeros(3, 2)
        for t in range(5):
            lateral = torch.zeros(3, 6)
            for a in range(2):
                lateral[:, 3 * a : 3 * a + 3] = last[:, 3 * a : 3 * a + 3] @ decoder.lateral[a]
            i_syn = 0.5 * i_syn + currents[t] + lateral + decoder.lateral_bias
            v = 0.75 * v * (1 - last) + i_syn
            last = (v > 0.5).float()
            m = 0.9 * m + decoder.read(last)
        torch.testing.assert_close(decoder(s)[0], m)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "populaton"}, "Did you mean 'population'"),
        ({"decoder": "rat"}, "Did you mean 'rate'"),
        ({"n_timesteps": 0}, "n_timesteps=0"),
        ({"net_arch": []}, "net_arch is empty"),
        ({"initial_rate": 0.9}, "initial_rate=0.9"),
        ({"encoder": "population", "encoder_kwargs": {"npop": 3}}, "Did you mean 'n_pop'"),
        ({"encoder": "rate", "encoder_kwargs": {"n_pop": 3}}, "It has none"),
        ({"encoder": "population", "encoder_kwargs": {"coding": "poison"}}, "coding='poison'"),
        ({"encoder": "population", "encoder_kwargs": {"n_pop": 1}}, "n_pop=1"),
        ({"encoder": "adaptive", "encoder_kwargs": {"initial": "zero"}}, "initial='zero'"),
        ({"decoder": "membrane", "decoder_kwargs": {"read": "first"}}, "read='first'"),
        ({"decoder": "membrane", "decoder_kwargs": {"decay": 1.5}}, "decay=1.5"),
        ({"decoder": "lateral", "decoder_kwargs": {"decay": -1.0}}, "decay=-1.0"),
    ],
)
def test_bad_arguments_are_told(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpikingNet(4, 2, **arguments)
