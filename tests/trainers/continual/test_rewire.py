"""Rewiring: SoftSort and its gradient, the alignment, relabelled wirings, and the choice among modes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainers.continual.methods.base import plain_actor
from trainers.continual.methods.ft_1 import FineTuneOne
from trainers.continual.methods.rewire import Rewire, RewiredLayer, RewiredNet, _Permute, _ranks, soft_sort

STATES = torch.as_tensor(np.random.default_rng(0).uniform(-2, 2, (20, 5)).astype(np.float32))
SEEDS = st.integers(0, 10_000)


def _scores_of(order: np.ndarray) -> Tensor:
    """Scores that sort into an order."""
    return _ranks(torch.as_tensor(order).argsort())


def _matrix(order: np.ndarray) -> np.ndarray:
    """P with (P x)_i = x[order[i]]."""
    return np.eye(len(order), dtype=np.float32)[order]


def _explicit(scores: Tensor, tau: float) -> Tensor:
    """Hard + Soft - stopgrad(Soft), from the definition."""
    ascending = scores.sort().values
    soft = torch.softmax(-(ascending[:, None] - scores[None, :]).abs() / tau, 1)
    hard = torch.nn.functional.one_hot(soft.argmax(1), len(scores)).float()
    return hard + soft - soft.detach()


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, n=st.integers(2, 12), tau=st.floats(0.01, 2.0))
def test_soft_sort(seed: int, n: int, tau: float) -> None:
    """Rows sum to one and are largest where the scores ascend; the limit of tau is that permutation."""
    order = np.random.default_rng(seed).permutation(n)
    scores = _scores_of(order)
    soft, found = soft_sort(scores, tau)
    np.testing.assert_array_equal(found, order)
    np.testing.assert_allclose(soft.sum(1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(soft.argmax(1), order)
    hard, _ = soft_sort(scores, 1e-4)
    np.testing.assert_allclose(hard, _matrix(order), atol=1e-6)
    np.testing.assert_allclose(hard.sum(0), 1.0, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, tau=st.floats(0.05, 2.0))
def test_a_permutation_is_hard_forward_and_soft_backward(seed: int, tau: float) -> None:
    torch.manual_seed(seed)
    x, weights = torch.randn(3, 6), torch.randn(3, 6)
    scores = torch.randn(6)
    pairs = []
    for explicit in (False, True):
        xs, s = x.clone().requires_grad_(), scores.clone().requires_grad_()
        y = xs @ _explicit(s, tau).T if explicit else _Permute.apply(xs, *soft_sort(s, tau))
        torch.testing.assert_close(y, x[:, scores.argsort()])
        pairs.append(torch.autograd.grad((weights * y.square()).sum(), (xs, s)))
    for own, expected in zip(*pairs, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)


def _net(modes: int = 3, beta: float = 0.5, seed: int = 0) -> RewiredNet:
    torch.manual_seed(seed)
    return RewiredNet([(torch.randn(o, i), torch.randn(o)) for o, i in ((7, 5), (6, 7), (4, 6))], modes, 0.3, beta)


def test_the_drawn_mode_has_its_gradient_times_the_number_of_modes() -> None:
    """Against the definition, with the same noise."""
    net = _net()
    for layer in net.layers:
        layer.scores.data += 0.3 * torch.randn_like(layer.scores)
    torch.manual_seed(5)
    net(STATES).square().sum().backward()
    torch.manual_seed(5)
    mode = int(torch.randint(3, ()))
    x, given_scores = STATES, []
    for layer in net.layers:
        x = x @ layer.weight.detach().T + layer.bias.detach()
        own = layer.scores[mode].detach().clone().requires_grad_()
        given_scores.append(own)
        gumbel = -torch.empty(len(own)).exponential_().log()
        x = torch.nn.functional.leaky_relu(x @ _explicit(own + 0.5 * gumbel, 0.3).T, 0.2)
    x = x @ net.head.weight.detach().T + net.head.bias.detach()
    expected = torch.autograd.grad(x.square().sum(), given_scores)
    for layer, grad in zip(net.layers, expected, strict=True):
        torch.testing.assert_close(layer.scores.grad[mode], 3 * grad, rtol=1e-3, atol=1e-3)
        assert (layer.scores.grad[[k for k in range(3) if k != mode]] == 0).all()


def test_updates_are_noisy_and_acting_is_not() -> None:
    for beta in (0.5, 0.0):  # Gumbel noise, or dropout
        net = _net(modes=1, beta=beta)
        plain = net.wired([torch.arange(7), torch.arange(6)], net.head)
        x = STATES
        for i, (weight, bias) in enumerate(plain):
            x = x @ weight.T + bias
            x = x if i == 2 else torch.nn.functional.leaky_relu(x, 0.2)
        assert not torch.allclose(net(STATES), x, atol=1e-3)
        with torch.no_grad():
            torch.testing.assert_close(net(STATES), x)
        torch.testing.assert_close(net.eval()(STATES), x)


def test_disagreement_is_the_distance_to_another_mode_without_gradient_there() -> None:
    net = _net(modes=2, beta=0.1)
    for layer in net.layers:
        layer.scores.data[1] = torch.rand_like(layer.scores[1])
    net.head.bias.data[:2] += 30.0  # means beyond what targets may be
    outputs = net(STATES)
    assert net._drawn is not None
    mode = net._drawn[0]
    wiring = [layer.scores[1 - mode].argsort() for layer in net.layers]
    x = STATES
    for weight, bias in net.wired(wiring, net.head)[:-1]:
        x = torch.nn.functional.leaky_relu(x @ weight.T + bias, 0.2)
    target = (x @ net.head.weight.T + net.head.bias).detach()
    target[:, :2] = target[:, :2].clamp(-20, 20)
    value = net.disagreement(STATES)
    torch.testing.assert_close(value, (outputs - target).square().sum())
    value.backward()
    for layer in net.layers:
        assert (layer.scores.grad[1 - mode] == 0).all()
    alone = _net(modes=1)
    alone(STATES)
    assert alone.disagreement(STATES).item() == 0.0


def _relabel(net: RewiredNet, seed: int) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """Random permutations in the alignment's scores: Z of each layer, A of each but the first."""
    rng = np.random.default_rng(seed)
    outs: list[np.ndarray] = []
    ins: list[np.ndarray | None] = []
    for layer in net.layers:
        outs.append(rng.permutation(len(layer.bias)))
        layer.out_scores.data.copy_(_scores_of(outs[-1]))
        ins.append(None if layer.first else rng.permutation(layer.weight.shape[1]))
        if ins[-1] is not None:
            layer.in_scores.data.copy_(_scores_of(ins[-1]))
    return outs, ins


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_misalignment_is_a_norm(seed: int) -> None:
    net = _net(seed=seed)
    assert net.misalignment().item() == 0.0
    outs, ins = _relabel(net, seed)
    expected = 0.0
    for layer, z, a in zip(net.layers, outs, ins, strict=True):
        layer.weight.data += torch.randn_like(layer.weight)
        layer.bias.data += torch.randn_like(layer.bias)
        moved = _matrix(z).T @ layer.old_weight.numpy() @ (np.eye(layer.weight.shape[1]) if a is None else _matrix(a))
        expected += np.square(layer.weight.detach().numpy() - moved).sum()
        expected += np.square(layer.bias.detach().numpy() - _matrix(z).T @ layer.old_bias.numpy()).sum()
    assert net.misalignment().item() == pytest.approx(expected, rel=1e-4)


def test_misalignment_has_the_gradient_of_the_published_form() -> None:
    """||W||^2 - 2 <Z^T Wbar A, W> + ||b||^2 - 2 <Z^T bbar, b>, with Z and A straight through."""
    torch.manual_seed(0)
    layer = RewiredLayer(torch.randn(6, 4), torch.randn(6), 1, first=False)
    layer.out_scores.data, layer.in_scores.data = torch.rand(6), torch.rand(4)
    layer.weight.data += torch.randn(6, 4)
    parameters = [layer.weight, layer.bias, layer.out_scores, layer.in_scores]
    own = torch.autograd.grad(layer.misalignment(), parameters)
    z, a = _explicit(layer.out_scores, 0.1), _explicit(layer.in_scores, 0.1)
    w, b = layer.weight, layer.bias
    published = w.square().sum() - 2 * (z.T @ layer.old_weight @ a * w).sum()
    published = published + b.square().sum() - 2 * (z.T @ layer.old_bias * b).sum()
    for x, y in zip(own, torch.autograd.grad(published, parameters), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_what_a_relabelling_explains_costs_kept_wirings_nothing(seed: int) -> None:
    net = _net(seed=seed)
    rng = np.random.default_rng(seed + 1)
    kept = [torch.as_tensor(rng.permutation(len(layer.bias))) for layer in net.layers]

    def outputs(wiring: list[Tensor]) -> np.ndarray:
        x = STATES.numpy()
        for weight, bias in net.wired(wiring, net.head)[:-1]:
            x = x @ weight.numpy().T + bias.numpy()
            x = np.where(x > 0, x, 0.2 * x)
        return x @ net.head.weight.detach().numpy().T

    before = outputs(kept)
    outs, ins = _relabel(net, seed)
    for layer, z, a in zip(net.layers, outs, ins, strict=True):
        moved = _matrix(z).T @ layer.weight.detach().numpy()
        layer.weight.data = torch.as_tensor(moved if a is None else moved @ _matrix(a))
        layer.bias.data = torch.as_tensor(_matrix(z).T @ layer.bias.detach().numpy())
    assert net.misalignment().item() == pytest.approx(0.0, abs=1e-6)
    followed = net.follow(kept)
    assert any(not torch.equal(a, b) for a, b in zip(kept, followed, strict=True))
    np.testing.assert_allclose(outputs(followed), before, atol=1e-4)


def _acts(method: Any, task: int) -> Tensor:
    with torch.no_grad():
        return method.actor_for(task)(STATES, deterministic=True)


def test_it_begins_as_fine_tuning_does(actors, judge) -> None:
    torch.manual_seed(0)
    plain = FineTuneOne(actors(), 2)
    torch.manual_seed(0)
    method = Rewire(actors(), 2, modes=1, divergence=0.0, coefficient=0.0)
    method.before_task(0, judge())
    torch.testing.assert_close(_acts(method, 0), _acts(plain, 0))
    with torch.no_grad():
        torch.testing.assert_close(method.actor.eval()(STATES, deterministic=True), _acts(plain, 0))
    method.actor.train()
    method.actor.action_log_prob(STATES)
    assert method.loss(STATES) == 0.0


def _snapshot(method: Rewire) -> list[Tensor]:
    return [x.clone() for layer in method.net.layers for x in (layer.weight, layer.bias)] + [method.net.head.weight.clone()]


@pytest.mark.parametrize(
    ("before", "modes", "threshold", "kept"),
    [
        (10.0, [9.0, 8.0, 7.0], 0.0, None),
        (10.0, [9.0, 12.0, 11.0], 0.0, 1),
        (-10.0, [-12.0, -11.0, -13.0], 0.0, None),
        (-10.0, [-12.0, -11.0, -9.0], 0.0, 2),
        (-10.0, [-9.5, -9.7, -9.8], 0.1, None),
        (-10.0, [-8.9, -9.7, -9.8], 0.1, 0),
    ],
)
def test_everything_goes_back_where_no_mode_earns_more(before, modes, threshold, kept, actors, learner, learn, judge) -> None:
    torch.manual_seed(0)
    method = Rewire(actors(), 3, coefficient=0.1, threshold=threshold, select_episodes=2)
    learn(method, 0)
    told = judge([before, *modes])
    method.before_task(1, told)
    start, acts = _snapshot(method), _acts(method, 0)
    torch.testing.assert_close(_acts(method, 1), acts)
    model = learner(method).learn(60)
    for layer in method.net.layers:
        layer.scores.data = torch.rand_like(layer.scores)  # modes that have come apart
    wirings = [method._wiring_now(k) for k in range(3)]
    method.after_task(model, told)
    back = [torch.equal(a, b) for a, b in zip(start, _snapshot(method), strict=True)]
    assert all(back) == any(back) == (kept is None)
    assert torch.equal(_acts(method, 0), acts) == (kept is None)
    assert torch.equal(_acts(method, 1), acts) == (kept is None)
    if kept is not None:
        assert all(torch.equal(a, b) for a, b in zip(method._wiring(1), wirings[kept], strict=True))
    for k in range(3):  # the next task starts where this one ended
        assert all(torch.equal(a, b) for a, b in zip(method._wiring_now(k), method._wiring(1), strict=True))
    assert method.net.misalignment().item() == 0.0


def test_a_large_coefficient_holds_the_actions_of_earlier_tasks(actors, learn) -> None:
    """Where neurons are not relabelled meanwhile: when scores jump, W follows with a delay."""
    changes = []
    for coefficient in (0.0, 1e4):
        torch.manual_seed(0)
        method = Rewire(actors(), 2, coefficient=coefficient, select_episodes=2)
        for name, parameter in method.net.named_parameters():
            parameter.requires_grad_(not name.endswith(("out_scores", "in_scores")))
        learn(method, 0, steps=40)
        before = _acts(method, 0)
        learn(method, 1, steps=200, learning_rate=1e-3)
        changes.append(float((_acts(method, 0) - before).abs().mean()))
    assert changes[1] < 0.02 * changes[0]


def test_repeated_tasks_share_a_wiring_and_a_head(actors, learn, judge) -> None:
    torch.manual_seed(0)
    method = Rewire(actors(), 5, cycle=2, coefficient=0.1, select_episodes=2)
    assert len(method.heads) == 2
    learn(method, 0)
    assert torch.equal(_acts(method, 2), _acts(method, 0))
    learn(method, 1)
    assert torch.equal(_acts(method, 2), _acts(method, 0))  # it is told that task 2 repeats task 0
    assert torch.equal(_acts(method, 3), _acts(method, 1))
    first, wiring = _acts(method, 0), method._wiring(0)
    method.before_task(2, judge())
    assert all(torch.equal(a, b) for a, b in zip(method._wiring_now(0), wiring, strict=True))
    torch.testing.assert_close(_acts(method, 2), first)
    layers = method.net.wired(method._wiring_now(0), method.net.head)
    with torch.no_grad():
        torch.testing.assert_close(plain_actor(method.make_actor(), layers)(STATES, deterministic=True), first)
    alone = Rewire(actors(), 5)
    learn(alone, 0)
    learn(alone, 1)
    assert len(alone.heads) == 5
    assert torch.equal(_acts(alone, 2), _acts(alone, 1))
