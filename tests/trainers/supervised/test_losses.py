import numpy as np
import pytest
import torch

from trainers.supervised.losses import activity_penalty, branching_parameter, fano_factor, rate_penalty

OFF = (0.0, 0.0)


def test_measures_against_numpy_loops() -> None:
    spikes = (torch.rand(60, 3, 12, generator=torch.Generator().manual_seed(0)) < 0.2).double()
    s = spikes.numpy()
    fano = [np.var(c) / np.mean(c) for b in range(3) for c in [[s[k : k + 10, b].sum() for k in range(0, 60, 10)]]]
    assert float(fano_factor(spikes)) == pytest.approx(np.mean(fano))
    ratios = [s[t + 1, b].sum() / s[t, b].sum() for b in range(3) for t in range(59) if s[t, b].sum()]
    assert float(branching_parameter(spikes)) == pytest.approx(np.mean(ratios))
    assert float(rate_penalty(spikes, 0.1)) == pytest.approx(np.mean((s.mean(axis=(0, 1)) - 0.1) ** 2))


def test_silence_has_no_branching_and_finite_penalties() -> None:
    silent = (torch.zeros(20, 2, 5, requires_grad=True),)
    penalty = activity_penalty(silent, (1.0, 0.02), (1.0, 1.4), (1.0, 1.0))
    assert torch.isfinite(penalty)
    penalty.backward()


@pytest.mark.parametrize("target", [0.05, 0.4])
def test_the_rate_penalty_moves_the_rate(target: float) -> None:
    from policies.constrained import ConstrainedRSNN

    torch.manual_seed(0)
    network = ConstrainedRSNN(2, 2, 60)
    x = torch.randn(30, 8, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    distances = []
    for _ in range(40):
        _, spikes, _ = network(x)
        optimizer.zero_grad()
        activity_penalty((spikes,), (1.0, target), OFF, OFF).backward()
        optimizer.step()
        network.project()
        distances.append(abs(float(spikes.detach().mean()) - target))
    assert distances[-1] < 0.5 * distances[0]


def test_nothing_asked_for_costs_nothing() -> None:
    assert activity_penalty((torch.ones(20, 2, 5),), OFF, OFF, OFF) == 0
