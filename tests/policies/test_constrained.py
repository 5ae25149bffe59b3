import pytest
import torch

from policies.constrained import WIRINGS, ConstrainedRSNN


def _network(**kwargs):
    torch.manual_seed(0)
    return ConstrainedRSNN(2, 2, 200, **kwargs)


def _learn(network, steps=12):
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.05)
    for _ in range(steps):
        outputs, _, _ = network(torch.randn(8, 5, 2))
        optimizer.zero_grad()
        (outputs - 1.0).square().mean().backward()
        optimizer.step()
        network.project()


def test_populations_have_the_published_sizes_signs_and_leaks() -> None:
    torch.manual_seed(0)
    network = ConstrainedRSNN(2, 2, 1000)
    assert torch.bincount(network.kind).tolist() == [850, 60, 45, 45]
    assert [round(float(network.leak[i]), 6) for i in (0, 850, 910, 955)] == [0.85, 0.7, 0.3, 0.6]
    assert sum(p.numel() for p in network.parameters()) == 1_006_002
    weight = network.recurrent.weight
    assert (weight[:, :850] >= 0).all()
    assert (weight[:, 850:] <= 0).all()
    for to, row in enumerate(torch.tensor(WIRINGS["cortex"].probabilities).T):
        for start, probability in enumerate(row):
            block = network.mask[network.kind == to][:, network.kind == start].float()
            spread = (probability * (1 - probability) / block.numel()) ** 0.5
            assert abs(block.mean() - probability) < 5 * spread
    assert torch.linalg.eigvals(weight.detach()).abs().max() == pytest.approx(1.0, rel=1e-3)
    assert int((network.input.weight != 0).sum()) == int(0.16 * 2000)
    assert (network.output.weight >= 0).all()


@pytest.mark.parametrize("rewire", [False, True])
def test_signs_and_connections_survive_learning(rewire: bool) -> None:
    network = _network(rewire=rewire)
    mask, weight = network.mask.clone(), network.recurrent.weight.detach().clone()
    counts = [[mask[network.kind == i][:, network.kind == j].sum() for j in range(4)] for i in range(4)]
    _learn(network)
    after = network.recurrent.weight.detach()
    assert (after != weight).any()
    assert (after[~network.mask] == 0).all()
    assert (after * network.sign >= 0).all()
    assert torch.equal(network.mask, mask) != rewire
    for i in range(4):
        for j in range(4):
            assert network.mask[network.kind == i][:, network.kind == j].sum() == counts[i][j]
    if rewire:
        assert (after[network.mask] != 0).all()


def test_frozen_weights_stay() -> None:
    network = _network(freeze=("input", "recurrent"))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    _learn(network)
    for name, p in network.named_parameters():
        assert torch.equal(p, before[name]) != name.startswith("output"), name


def test_neurons_are_silent_after_a_spike() -> None:
    network = _network(refractory=3)
    _, spikes, _ = network(torch.full((30, 2, 2), 20.0))
    assert spikes.sum() > 0
    for t in range(30):
        assert (spikes[t] * spikes[t + 1 : t + 4].sum(dim=0) == 0).all()


def test_one_neuron_against_a_plain_loop() -> None:
    """Leak, threshold 1, hard reset to 0, no input in refractory steps; the readout leaks."""
    network = _network(refractory=1, readout_decay=0.5)
    x = 2.0 * torch.rand(25, 1, 2)
    with torch.no_grad():
        network.recurrent.weight.zero_()
        outputs, spikes, _ = network(x)
        i = int(spikes.sum(dim=(0, 1)).argmax())
        current = network.input(x)[:, 0, i] + network.recurrent.bias[i]
        v, left, y = 0.0, 0, torch.zeros(2)
        for t in range(25):
            v = float(network.leak[i]) * v + (float(current[t]) if not left else 0.0)
            fires = v > 1.0 and not left
            left = 1 if fires else max(left - 1, 0)
            v = 0.0 if fires else v
            assert bool(spikes[t, 0, i]) == fires
            y = 0.5 * y + network.output(spikes[t, 0])
            torch.testing.assert_close(outputs[t, 0], y)
    assert 2 < spikes[:, 0, i].sum() < 13


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"wiring": "cortx"}, "Did you mean 'cortex'"),
        ({"freeze": ("recurent",)}, "Did you mean 'recurrent'"),
        ({"neurons": 5}, "leaves a population"),
        ({"readout_decay": 1.0}, r"must lie in \[0, 1\)"),
        ({"spectral_radius": 0.0}, "must be positive"),
    ],
)
def test_bad_options_are_refused(kwargs, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConstrainedRSNN(2, 2, **({"neurons": 40} | kwargs))


def test_batches_are_not_taken_for_time() -> None:
    with pytest.raises(ValueError, match=r"\(50, 2\) are not a sequence \(steps, batch, 2\)"):
        _network()(torch.zeros(50, 2))
    with pytest.raises(ValueError, match=r"\(2, 50, 30\) are not a sequence"):
        _network()(torch.zeros(2, 50, 30))
