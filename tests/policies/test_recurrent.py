import pytest
import torch

from policies.recurrent import AdLIFLayer, LeakyReadout, ThresholdALIFLayer, leaky

LAYERS = [ThresholdALIFLayer, AdLIFLayer]


def _layer(kind, recurrent=True):
    torch.manual_seed(0)
    layer = kind(6, 9, recurrent=recurrent).double()
    if kind is AdLIFLayer:
        layer.scale = 3.0  # with 120 and so few steps almost nothing fires
    return layer


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_fused_equals_a_plain_autograd_loop(kind, recurrent: bool) -> None:
    layer = _layer(kind, recurrent)
    x = (6 * torch.randn(14, 4, 6, dtype=torch.double)).requires_grad_()
    start = [torch.rand(4, 9, dtype=torch.double).requires_grad_() for _ in range(3)]
    results = []
    for layer.fused in (True, False):
        spikes, end = layer(x, tuple(start))
        weights = torch.Generator().manual_seed(1)
        parts = (spikes, *end)
        loss = sum((p * torch.randn(p.shape, generator=weights, dtype=torch.double)).sum() for p in parts)
        inputs = [x, *start, *layer.parameters()]
        grads = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
        results.append((spikes, end, grads))
    (spikes, end, grads), (expected, expected_end, expected_grads) = results
    assert 0.02 < expected.mean() < 0.9
    torch.testing.assert_close(spikes, expected, rtol=0, atol=0)
    torch.testing.assert_close(end, expected_end, rtol=0, atol=1e-12)
    torch.testing.assert_close(grads, expected_grads, rtol=0, atol=1e-11)
    assert all(g.abs().max() > 0 for g in grads[4:])


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_spikes_in_bytes_count_as_numbers(kind, fused: bool) -> None:
    layer = _layer(kind)
    layer.fused = fused
    x = torch.randint(0, 40, (14, 4, 6), dtype=torch.uint8) * (torch.rand(14, 4, 6) < 0.2)
    results = []
    for inputs in (x, x.double()):
        spikes, (v, *_) = layer(inputs)
        results.append((spikes, *torch.autograd.grad((spikes + v).sum(), [layer.input.weight, layer.recurrent.weight])))
    assert 0.02 < results[0][0].mean() < 0.9
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_sequence_may_be_cut_anywhere(kind) -> None:
    layer = _layer(kind)
    x = 6 * torch.randn(14, 4, 6, dtype=torch.double)
    whole, end = layer(x)
    first, state = layer(x[:5])
    second, second_end = layer(x[5:], state)
    torch.testing.assert_close(whole, torch.cat([first, second]), rtol=0, atol=0)
    torch.testing.assert_close(end, second_end, rtol=0, atol=1e-12)


def test_spikes_act_on_the_layer_one_step_later() -> None:
    layer = ThresholdALIFLayer(1, 2, v_th=0.5)
    with torch.no_grad():
        layer.input.weight.copy_(torch.tensor([[100.0], [0.0]]))  # the input drives neuron 0 alone
        layer.recurrent.weight.copy_(torch.tensor([[0.0, 0.0], [100.0, 0.0]]))  # which drives neuron 1
    x = torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1)
    spikes, _ = layer(x)
    assert spikes[0, 0].tolist() == [1, 0]
    assert spikes[1, 0, 1] == 1


def test_samples_of_a_batch_and_later_steps_do_not_reach_a_step() -> None:
    """Time is the first axis: a change at (t, b) is seen by sample b from t on, and by nothing else."""
    layer = _layer(ThresholdALIFLayer)
    x = 6 * torch.randn(14, 4, 6, dtype=torch.double)
    changed = x.clone()
    changed[7, 2] += 50.0
    differs = (layer(x)[0] != layer(changed)[0]).any(dim=2)
    assert differs[7:, 2].any()
    differs[7:, 2] = False
    assert not differs.any()


def test_leaky_readout_equals_the_step_by_step_integrator() -> None:
    current, decay = torch.randn(11, 3, 4, dtype=torch.double), torch.tensor([0.0, 0.3, 0.9, 1.0], dtype=torch.double)
    v = torch.zeros(3, 4, dtype=torch.double)
    for t, out in enumerate(leaky(current, decay)):
        v = decay * v + (1 - decay) * current[t]
        torch.testing.assert_close(out, v)


@pytest.mark.parametrize("make", [lambda: ThresholdALIFLayer(3, 5), lambda: AdLIFLayer(3, 5), lambda: LeakyReadout(3, 5)])
def test_projection_brings_time_constants_back(make) -> None:
    layer = make()
    with torch.no_grad():
        layer.tau_mem.fill_(-3.0)
    layer.project()
    assert (layer.tau_mem >= 1.0).all()


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="size=0 must be at least 1"):
        ThresholdALIFLayer(3, 0)
