import pytest
import torch

from policies.sequences import MODELS, AdaptiveSRNN, DelayNetwork, ReservoirClassifier

SMALL = {
    "srnn": {"sizes": (12, 10)},
    "adlif": {"sizes": (12, 10)},
    "delays": {"sizes": (12, 10), "inputs": 8},
    "reservoir": {"neurons": 40},
}


def test_published_sizes() -> None:
    assert sum(p.numel() for p in AdaptiveSRNN().parameters()) == 142_396
    assert sum(p.numel() for p in ReservoirClassifier().parameters()) == 1_722_020
    connections = DelayNetwork().connections
    assert sum(c.weight.numel() for c in connections) == sum(c.delay.numel() for c in connections) == 106_496


@pytest.mark.parametrize("name", MODELS)
def test_every_network_answers_for_each_sample_alone(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name](**({"inputs": 8, "outputs": 5} | SMALL[name])).eval()
    x = (torch.rand(40, 6, 8) < 0.4).float()
    response = model(x)
    assert response.outputs.shape == (40, 6, 5)
    assert response.scores.shape == (6, 5)
    assert all(((s == 0) | (s == 1)).all() for s in response.spikes)
    torch.testing.assert_close(model(x[:, 2:3]).scores, response.scores[2:3], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"not a sequence \(steps, batch, 8\)"):
        model(x[0])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_every_network_takes_counts_in_bytes_for_numbers(name: str, training: bool) -> None:
    torch.manual_seed(0)
    model = MODELS[name](**({"inputs": 8, "outputs": 5} | SMALL[name])).double().train(training)
    x = torch.randint(0, 3, (40, 6, 8), dtype=torch.uint8) * (torch.rand(40, 6, 8) < 0.3)
    scores = []
    for inputs in (x, x.double()):
        torch.manual_seed(1)  # of the dropout
        scores.append(model(inputs).scores)
    torch.testing.assert_close(*scores)


@pytest.mark.parametrize("name", MODELS)
def test_every_network_learns_to_tell_two_inputs_apart(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name](**({"inputs": 8, "outputs": 2} | SMALL[name]))
    x = torch.zeros(40, 32, 8)
    labels = torch.arange(32) % 2
    x[:, labels == 0, :4] = (torch.rand(40, 16, 4) < 0.5).float()
    x[:, labels == 1, 4:] = (torch.rand(40, 16, 4) < 0.5).float()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model(x).scores, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.project()
    assert (model.eval()(x).scores.argmax(dim=1) == labels).float().mean() > 0.9
