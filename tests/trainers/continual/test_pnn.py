"""Progressive networks against NumPy."""

from typing import Any

import numpy as np
import torch

from trainers.continual.methods.pnn import ProgressiveNetworks

STATES = np.random.default_rng(0).uniform(-2, 2, (20, 5)).astype(np.float32)


def _act(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


def _linear(layer: Any, x: np.ndarray) -> np.ndarray:
    y = x @ layer.weight.detach().numpy().T
    return y if layer.bias is None else y + layer.bias.detach().numpy()


def test_three_columns_are_those_of_the_formula(actors, judge) -> None:
    torch.manual_seed(0)
    method = ProgressiveNetworks(actors(), 3, hidden=6)
    for task in range(3):
        method.before_task(task, judge())
    columns: Any = method.net.columns
    h: list[list[np.ndarray]] = []
    for c, column in enumerate(columns):
        x = _act(_linear(column.layers[0], STATES))
        own = [x]
        for i in (1, 2):
            y = _linear(column.layers[i], x)
            if c > 0:
                beside = column.gains[i - 1].item() * np.concatenate([h[j][i - 1] for j in range(c)], 1)
                y = y + _linear(column.adds[i - 1], _act(_linear(column.reads[i - 1], beside)))
            x = y if i == 2 else _act(y)  # no activation of the outputs, nor in the first column
            own.append(x)
        h.append(own)
        with torch.no_grad():
            mean, log_std, _ = method.actor_for(c).get_action_dist_params(torch.as_tensor(STATES))
        np.testing.assert_allclose(mean, own[-1][:, :2], atol=1e-5)
        np.testing.assert_allclose(log_std, own[-1][:, 2:], atol=1e-5)
    assert not columns[0].reads
    assert columns[2].reads[0].weight.shape == (6, 12)
    assert columns[2].reads[0].bias is None
    assert columns[2].adds[1].weight.shape == (4, 6)
    assert all(0 <= gain.item() <= 1 / 2 for gain in columns[2].gains)


def test_only_the_last_column_learns(actors, learn) -> None:
    method = ProgressiveNetworks(actors(), 3, hidden=6)
    learn(method, 0)
    first: Any = method.net.columns[0]
    before = [p.clone() for p in first.parameters()]
    learn(method, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, first.parameters(), strict=True))
    assert {id(p) for p in method.trained()} == {id(p) for p in method.net.columns[1].parameters()}
