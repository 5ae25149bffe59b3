import itertools

import numpy as np
import pytest
import torch

from policies.equations.plasticity import INITIAL_WEIGHTS, RULES
from policies.hebbian import HebbianNet


def loop(net: HebbianNet, x: np.ndarray, weights: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """One step of one row, a connection at a time, after the text of arXiv 2007.02686."""
    activities = [x]
    for i, w in enumerate(weights):
        y = np.array([sum(activities[-1][a] * w[a, b] for a in range(w.shape[0])) for b in range(w.shape[1])])
        last = i == len(weights) - 1
        activities.append(np.tanh(y) if not last or isinstance(net.squash, torch.nn.Tanh) else y)
    after = []
    for layer, w, pre, post in zip(net.plastic_layers(), weights, activities, activities[1:], strict=False):
        c = {name: getattr(layer, name).detach().numpy() for name in layer.names}
        new = w.copy()
        for a, b in itertools.product(*map(range, w.shape)):
            inner = c["A"][a, b] * pre[a] * post[b]
            inner += c["B"][a, b] * pre[a] if "B" in c else 0.0
            inner += c["C"][a, b] * post[b] if "C" in c else 0.0
            inner += c["D"][a, b] if "D" in c else 0.0
            inner *= c["eta"][a, b] if "eta" in c else 1.0
            new[a, b] += inner + (c["D_out"][a, b] if "D_out" in c else 0.0)
        if net.normalize == "max" and np.abs(new).max() > 0:
            new = new / np.abs(new).max()
        after.append(np.clip(new, -1, 1) if net.normalize == "clip" else new)
    return activities[-1], after


def unroll(net: HebbianNet, xs: torch.Tensor) -> None:
    state = net.rest(xs.shape[1])
    for x in xs:
        _, state = net.run(x, state)


@pytest.mark.parametrize("hebb_rule", RULES)
@pytest.mark.parametrize(("normalize", "output"), [("max", "linear"), ("clip", "tanh"), ("none", "tanh")])
def test_steps_are_those_of_a_loop_over_connections(hebb_rule: str, normalize: str, output: str) -> None:
    torch.manual_seed(0)
    net = HebbianNet(3, 2, [5, 4], hebb_rule, normalize=normalize, output=output, coefficient_scale=0.7).double()
    state = net.rest(3)
    rows = [[w[b].numpy() for (w,) in state] for b in range(3)]
    for x in torch.randn(4, 3, 3, dtype=torch.float64):
        y, state = net.run(x, state)
        for b in range(3):
            expected, rows[b] = loop(net, x[b].numpy(), rows[b])
            np.testing.assert_allclose(y[b].detach().numpy(), expected, rtol=1e-10, atol=1e-12)
            for (w,), other in zip(state, rows[b], strict=True):
                np.testing.assert_allclose(w[b].detach().numpy(), other, rtol=1e-10, atol=1e-12)


def test_sizes_are_the_published_ones() -> None:
    net = HebbianNet(28, 8)
    assert sum(w[0].numel() for (w,) in net.rest(1)) == 12_288
    assert sum(p.numel() for p in net.parameters()) == 61_440
    pixels = HebbianNet(648, 3)
    assert sum(w[0].numel() for (w,) in pixels.rest(1)) == 91_328
    assert sum(p.numel() for p in pixels.parameters()) == 456_640


@pytest.mark.parametrize("normalize", ["max", "clip", "none"])
@pytest.mark.parametrize("init_weights", ["uniform", "coevolve"])
def test_gradients_through_time_are_finite_differences(normalize: str, init_weights: str) -> None:
    torch.manual_seed(1)
    net = HebbianNet(2, 2, [3], init_weights=init_weights, normalize=normalize, coefficient_scale=0.4).double()
    xs = torch.randn(6, 2, 2, dtype=torch.float64)
    seeds = torch.tensor([3, 4])

    def loss() -> torch.Tensor:
        state = net.drawn(seeds)
        total = torch.zeros((), dtype=torch.float64)
        for t, x in enumerate(xs):
            y, state = net.run(x, state)
            total = total + (y * (t + 1.0)).sum()
        return total

    loss().backward()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            flat, gradient = parameter.view(-1), parameter.grad.view(-1)
            for i in range(len(flat)):
                flat[i] += 1e-6
                high = float(torch.stack([loss()]))
                flat[i] -= 2e-6
                low = float(torch.stack([loss()]))
                flat[i] += 1e-6
                assert float(gradient[i]) == pytest.approx((high - low) / 2e-6, rel=1e-4, abs=1e-6), f"{name}[{i}]"


@pytest.mark.parametrize("init_weights", [name for name in INITIAL_WEIGHTS if name != "coevolve"])
def test_initial_weights_have_their_distribution(init_weights: str) -> None:
    torch.manual_seed(2)
    net = HebbianNet(60, 2, [40], init_weights=init_weights)
    w = net.rest(20)[0][0]
    spread = {
        "uniform": 0.1 / 3**0.5,
        "normal": 0.024,
        "uniform_big": 1 / 3**0.5,
        "xavier": 0.3 * (2 / 100) ** 0.5,
        "xavier_big": (2 / 100) ** 0.5,
        "kaiming": (0.2 / 60) ** 0.5,
        "default": (1 / 3 / 60) ** 0.5,
        "sparse": 0.01 * 0.2**0.5,
    }
    if init_weights in ("ones", "zeros"):
        assert (w == float(init_weights == "ones")).all()
    else:
        assert float(w.std()) == pytest.approx(spread[init_weights], rel=0.05)
        assert abs(float(w.mean())) < 0.02 * max(1.0, float(w.std()))
        assert not torch.equal(w[0], w[1])
    if init_weights == "sparse":
        assert float((w == 0).float().mean()) == pytest.approx(0.8, abs=0.02)


def test_weights_of_a_seed_are_the_same_in_any_batch() -> None:
    net = HebbianNet(3, 2, [4])
    together, alone = net.drawn(torch.tensor([5, 9, 5])), net.drawn(torch.tensor([9]))
    for (a,), (b,) in zip(together, alone, strict=True):
        assert torch.equal(a[1], b[0])
        assert torch.equal(a[0], a[2])
        assert not torch.equal(a[0], a[1])


def test_coevolved_weights_are_parameters_and_the_same_in_every_episode() -> None:
    net = HebbianNet(3, 2, [4], init_weights="coevolve")
    state = net.rest(2)
    for layer, (w,) in zip(net.plastic_layers(), state, strict=True):
        assert torch.equal(w[0], layer.w)
        assert torch.equal(w[1], layer.w)


def test_layers_of_zeros_stay_zeros_and_others_have_a_largest_weight_of_one() -> None:
    zeros = HebbianNet(3, 2, [4], hebb_rule="A", init_weights="zeros")
    y, state = zeros.run(torch.randn(2, 3), zeros.rest(2))
    assert not y.any()
    assert not any(w.any() for (w,) in state)
    net = HebbianNet(3, 2, [4])
    _, state = net.run(torch.randn(2, 3), net.rest(2))
    for (w,) in state:
        torch.testing.assert_close(w.abs().amax((1, 2)), torch.ones(2))


def test_zero_coefficients_without_normalisation_are_a_static_network() -> None:
    net = HebbianNet(3, 2, [4], normalize="none")
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    state = net.rest(2)
    w1, w2 = state[0][0], state[1][0]
    for x in torch.randn(5, 2, 3):
        y, state = net.run(x, state)
        expected = [torch.tanh(x[b] @ w1[b]) @ w2[b] for b in range(2)]
        torch.testing.assert_close(y, torch.stack(expected))


def test_diverging_weights_are_told_while_acting() -> None:
    net = HebbianNet(2, 1, [2], hebb_rule="A", normalize="none", coefficient_scale=1e10)
    with torch.no_grad(), pytest.raises(FloatingPointError, match="normalize='none'"):
        unroll(net, torch.ones(50, 1, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hebb_rule": "ABCD_l"}, "Unknown hebb_rule 'ABCD_l'. Did you mean 'ABCD_lr'"),
        ({"init_weights": "unifrm"}, "Did you mean 'uniform'"),
        ({"normalize": "maxx"}, "Did you mean 'max'"),
        ({"output": "tan"}, "Did you mean 'tanh'"),
        ({"coefficients": "norml"}, "Did you mean 'normal'"),
        ({"coefficient_scale": -1.0}, "coefficient_scale=-1.0"),
        ({"hidden_sizes": [8, 0]}, r"hidden_sizes=\[8, 0\] must be a list"),
        ({"hidden_sizes": 8}, "hidden_sizes=8 must be a list"),
    ],
)
def test_bad_arguments_are_told(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HebbianNet(3, 2, **arguments)
