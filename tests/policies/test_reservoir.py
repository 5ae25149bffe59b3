from typing import Any

import numpy as np
import pytest
import torch

from envs.robot_arm.generator import make_generator
from policies.reservoir import ReservoirRegressor


@pytest.mark.parametrize("differentiate", [False, True])
@pytest.mark.parametrize("fitted", [{}, {"tuning": (0.5, 0.5, 1.0), "ridge": 1e-3}])
def test_a_regressor_acts_step_by_step_as_on_the_whole_sequence(fitted: dict[str, Any], differentiate: bool) -> None:
    torch.manual_seed(0)
    model = ReservoirRegressor(2, 2, 60, traces=(0.0, 0.9, 1.0), differentiate=differentiate, readout_decay=0.5, **fitted)
    x, y = torch.randn(15, 4, 2), 0.3 + 2.0 * torch.randn(15, 4, 2)
    model.fit(x, y)
    with torch.no_grad():
        whole, spikes, end = model.act(x)
        state, steps = None, []
        for now in x:
            out, _, state = model.act(now[None], state)
            steps.append(out)
    assert spikes.sum() > 0
    torch.testing.assert_close(torch.cat(steps), whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(state, end, rtol=1e-4, atol=1e-4)


def test_inputs_reach_a_regressor_standardised() -> None:
    torch.manual_seed(0)
    model = ReservoirRegressor(2, 2, 60, traces=(0.0, 1.0))
    x = 5.0 + 3.0 * torch.randn(20, 50, 2)
    model.fit(x, x)
    seen = []
    model.network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(x)
    torch.testing.assert_close(seen[0].mean(dim=(0, 1)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[0].std(dim=(0, 1)), torch.ones(4))
    sums = x.cumsum(dim=0)
    torch.testing.assert_close(seen[0][..., 2:], (sums - sums.mean(dim=(0, 1))) / sums.std(dim=(0, 1)), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="must be decays"):
        ReservoirRegressor(traces=(1.5,))


def test_tuned_neurons_fire_beyond_thresholds_that_are_spread_over_the_inputs() -> None:
    torch.manual_seed(0)
    model = ReservoirRegressor(2, 2, 400, traces=(0.0, 1.0), tuning=(0.0, 1.0), refractory=0)
    x = torch.randn(30, 50, 2)
    model.fit(x, x)
    layer, rest = model.network.input, 1.0 - model.network.leak
    torch.testing.assert_close(layer.weight[:, :2], torch.zeros(400, 2))  # a trace of weight 0
    strength = layer.weight.norm(dim=1)
    torch.testing.assert_close(strength, 6.0 * rest)
    directions = layer.weight / strength[:, None]
    assert directions.mean(dim=0).norm() < 0.1
    thresholds = (1.0 - layer.bias / rest) / 6.0
    quantiles = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    torch.testing.assert_close(thresholds.quantile(quantiles), 4.0 * quantiles - 2.0, atol=0.25, rtol=0)
    with torch.no_grad():  # each by itself, under inputs that last
        model.network.recurrent.weight.zero_()
        model.network.recurrent.bias.zero_()
        points = torch.randn(20, 4)
        _, spikes, _ = model.network(points.expand(100, -1, -1))
        beyond = points @ directions.T - thresholds
    clear = beyond.abs() > 0.02
    torch.testing.assert_close((spikes.sum(dim=0) > 0)[clear], (beyond > 0)[clear])


@pytest.mark.parametrize("differentiate", [False, True])
def test_the_readout_is_that_of_ridge_regression(differentiate: bool) -> None:
    torch.manual_seed(0)
    decay, steps, batch = 0.7, 40, 60
    model = ReservoirRegressor(2, 1, 30, ridge=1e-3, readout_decay=decay, differentiate=differentiate)
    x = torch.randn(steps, batch, 2)
    y = 2.0 + x[..., :1].cumsum(dim=0)
    model.fit(x, y)
    with torch.no_grad():
        outputs, spikes, _ = model.act(x)

    wanted = (y.cumsum(dim=0) if differentiate else y).double().numpy()
    mean, scale = (0.0 if differentiate else wanted.mean()), wanted.std(ddof=1)
    kernel = decay ** np.arange(steps)
    filtered = [np.convolve(s, kernel)[:steps] for s in spikes.flatten(1).T.numpy()]
    features = np.stack(filtered, axis=1).reshape(steps, batch, 30)
    constant = np.broadcast_to(kernel.cumsum()[:, None, None], (steps, batch, 1))
    start = np.broadcast_to((decay * kernel)[:, None, None], (steps, batch, 0 if differentiate else 1))
    a = np.concatenate([features, constant, start], axis=2).reshape(steps * batch, -1)
    penalty = np.zeros(a.shape[1])
    penalty[:30] = 1e-3 * (a[:, :30] ** 2).sum(axis=0).mean()
    solution = np.linalg.solve(a.T @ a + np.diag(penalty), a.T @ ((wanted - mean) / scale).reshape(-1, 1))
    expected = mean + scale * (a @ solution).reshape(steps, batch, 1)
    given = outputs.cumsum(dim=0) if differentiate else outputs
    np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-3 * scale)


def test_a_fitted_network_knows_a_simple_map_before_learning() -> None:
    """The path of the arm's tip from the velocities of its joints: better than 1 % of the variance on unseen movements."""
    torch.manual_seed(0)
    (x, y), (unseen, path) = (_movements(seed) for seed in (0, 1))
    options = {"traces": (0.0, 1.0), "readout_decay": 0.9, "refractory": 0, "spectral_radius": 0.3}
    model = ReservoirRegressor(2, 2, 300, tuning=(0.2, 1.0), ridge=1e-4, **options)
    model.fit(x, y)
    with torch.no_grad():
        outputs, _, _ = model.act(unseen)
    assert (((outputs - path) / path.std(dim=(0, 1))) ** 2).mean() < 0.01


def _movements(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    moves = make_generator("env").sample(np.random.RandomState(seed), 60)
    omega, xy = (torch.from_numpy(a.astype(np.float32)).swapaxes(0, 1) for a in (moves.omega, moves.xy))
    return omega, xy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tuning": (1.0,)}, "must be a weight for each of the 2 traces"),
        ({"tuning": (0.0, 0.0)}, "not all 0"),
        ({"tuning": (-1.0, 1.0)}, "at least 0"),
        ({"ridge": 0.0}, "ridge=0.0 must be positive"),
    ],
)
def test_what_cannot_be_fitted_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReservoirRegressor(traces=(0.0, 1.0), **options)
