import pytest
import torch

from policies.delays import DelayedLinear


def test_evaluation_delays_by_whole_steps() -> None:
    torch.manual_seed(0)
    layer = DelayedLinear(3, 4, 5).eval()
    x = torch.randn(12, 2, 3)
    out, delay = layer(x), layer.delay.round().int()
    assert len(delay.unique()) > 2
    for t in range(12):
        for i in range(4):
            past = [layer.weight[i, j] * x[t - delay[i, j], :, j] for j in range(3) if delay[i, j] <= t]
            torch.testing.assert_close(out[t, :, i], sum(past, torch.zeros(2)))


def test_training_spreads_over_neighbours_and_keeps_the_weight() -> None:
    layer = DelayedLinear(1, 1, 8)
    with torch.no_grad():
        layer.delay.fill_(3.0)
        layer.weight.fill_(2.0)
    layer.narrow(1.0)
    pulse = torch.zeros(12, 1, 1)
    pulse[0] = 1.0
    response = layer(pulse)[:, 0, 0]
    taps = torch.exp(-0.5 * ((torch.arange(9) - 3.0) / 0.5) ** 2)
    torch.testing.assert_close(response[:9], 2.0 * taps / taps.sum(), rtol=1e-5, atol=1e-6)


def test_a_delay_is_learned() -> None:
    torch.manual_seed(0)
    layer = DelayedLinear(1, 1, 10)
    with torch.no_grad():
        layer.delay.fill_(2.0)
        layer.weight.fill_(1.0)
    x = torch.randn(60, 8, 1)
    target = torch.cat([torch.zeros(7, 8, 1), x[:-7]])
    optimizer = torch.optim.Adam([{"params": [layer.weight], "lr": 0.01}, {"params": [layer.delay], "lr": 0.1}])
    for i in range(150):
        layer.narrow(i / 150)
        optimizer.zero_grad()
        (layer(x) - target).square().mean().backward()
        optimizer.step()
        layer.project()
    assert layer.delay.round().item() == 7
    assert (layer.eval()(x) - target).square().mean() < 0.05


def test_width_narrows_in_the_first_quarter_and_delays_stay_in_range() -> None:
    layer = DelayedLinear(2, 2, 20)
    widths = []
    for progress in (0.0, 0.1, 0.25, 0.9):
        layer.narrow(progress)
        widths.append(float(layer.width))
    assert widths[0] == 10.0
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] == pytest.approx(0.5) == widths[3]
    with torch.no_grad():
        layer.delay.fill_(33.0)
    layer.project()
    assert (layer.delay == 20.0).all()
    with pytest.raises(ValueError, match="max_delay=0 must be at least 1"):
        DelayedLinear(2, 2, 0)
