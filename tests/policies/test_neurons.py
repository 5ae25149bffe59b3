import numpy as np
import pytest
import torch

from policies.equations.neurons import RESETS
from policies.neurons import NEURONS, Neurons, unroll
from policies.surrogate import SURROGATES

SHORT = {"lif": {}, "synaptic_lif": {}, "alif": {"tau_mem": 3.0, "tau_adapt": 5.0}}


def _run(function, layer, seed=0):
    """Spikes, last state and gradients of a random linear loss, all in double precision."""
    generator = torch.Generator().manual_seed(seed)
    x = (0.8 + 1.5 * torch.randn(9, 5, layer.size, dtype=torch.double, generator=generator)).requires_grad_()
    state = tuple(
        (0.3 * torch.rand(5, layer.size, dtype=torch.double, generator=generator)).requires_grad_()
        for _ in range(layer.state_size)
    )
    spikes, end = function(x, state)
    weight = torch.randn(spikes.shape, dtype=torch.double, generator=generator)
    loss = (spikes * weight).sum() + sum((part * weight[i]).sum() for i, part in enumerate(end))
    return spikes, end, torch.autograd.grad(loss, [x, *state])


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_fused_equals_a_plain_autograd_loop(neuron: str, reset: str, surrogate: str, detach_reset: bool) -> None:
    layer = Neurons(7, neuron, surrogate, reset=reset, detach_reset=detach_reset, v_rest=0.1, **SHORT[neuron])
    spikes, end, grads = _run(layer, layer)
    expected, expected_end, expected_grads = _run(lambda x, state: unroll(layer.step, x, state), layer)
    assert 0.05 < spikes.mean() < 0.95
    torch.testing.assert_close(spikes, expected, rtol=0, atol=0)
    torch.testing.assert_close(end, expected_end, rtol=0, atol=1e-12)
    torch.testing.assert_close(grads, expected_grads, rtol=0, atol=1e-12)


@pytest.mark.parametrize("neuron", NEURONS)
def test_without_gradients_the_spikes_are_the_same(neuron: str) -> None:
    layer = Neurons(16, neuron)
    x = torch.randn(20, 3, 16) + 1.0
    with torch.no_grad():
        spikes, end = layer(x)
    expected, expected_end = layer(x.requires_grad_())
    torch.testing.assert_close(spikes, expected, rtol=0, atol=0)
    torch.testing.assert_close(end, tuple(part.detach() for part in expected_end), rtol=0, atol=0)


@pytest.mark.parametrize("neuron", NEURONS)
def test_a_sequence_may_be_cut_anywhere(neuron: str) -> None:
    layer = Neurons(16, neuron, v_rest=-0.2, v_th=0.6)
    x = torch.randn(20, 3, 16) + 0.5
    whole, end = layer(x)
    first, state = layer(x[:7])
    second, second_end = layer(x[7:], state)
    torch.testing.assert_close(whole, torch.cat([first, second]), rtol=0, atol=0)
    torch.testing.assert_close(end, second_end)
    rested, _ = layer(x, layer.rest(x[0]))
    torch.testing.assert_close(whole, rested, rtol=0, atol=0)


def test_adaptation_without_effect_leaves_a_plain_neuron() -> None:
    x = torch.randn(20, 3, 16) * 4.0
    spikes, state = Neurons(16, "alif", beta=0.0, tau_mem=2.0)(x)
    plain, _ = unroll(Neurons(16, "lif", tau_mem=1.0 / (1.0 - np.exp(-0.5))).step, x, (torch.zeros(3, 16),))
    assert len(state) == 2
    assert (spikes != plain).float().mean() < 1e-3  # rounding


def test_second_derivatives_are_refused_by_the_fused_form_alone() -> None:
    x = torch.randn(4, 2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match="'fused': False"):
        torch.autograd.grad(Neurons(3)(x)[0].sum(), x, create_graph=True)
    (grad,) = torch.autograd.grad(Neurons(3, fused=False)(x)[0].sum(), x, create_graph=True)
    assert grad.shape == x.shape


@pytest.mark.parametrize("neuron", NEURONS)
def test_refractory_neurons_rest_for_so_many_steps(neuron: str) -> None:
    layer = Neurons(50, neuron, refractory=3, **SHORT[neuron])
    spikes, _ = layer(torch.rand(60, 2, 50) * 8.0)
    trains = spikes.numpy().reshape(60, -1).T
    gaps = np.concatenate([np.diff(np.flatnonzero(train)) for train in trains])
    assert gaps.min() == 4
    strong, _ = layer(torch.full((20, 1, 50), 50.0))
    assert strong.sum(0).min() == 5  # at steps 0, 4, 8, 12, 16


@pytest.mark.parametrize("neuron", NEURONS)
def test_learnable_decays_start_at_the_constants_and_receive_gradients(neuron: str) -> None:
    fixed, learnable = (Neurons(6, neuron, learnable=learns, **SHORT[neuron]).double() for learns in (False, True))
    x = torch.randn(12, 4, 6, dtype=torch.double) + 1.0
    torch.testing.assert_close(learnable(x)[0], fixed(x)[0])
    (learnable(x)[0] * torch.randn(12, 4, 6)).sum().backward()
    for parameter in learnable.parameters():
        assert parameter.shape == (6,)
        assert parameter.grad is not None
        assert (parameter.grad != 0).any()


def test_filter_has_the_gradient_that_finite_differences_give() -> None:
    from policies.fused import filtered

    x = torch.randn(6, 2, 3, dtype=torch.double, requires_grad=True)
    start = torch.randn(2, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, y: filtered(x, y, 0.7), (x, start))
    assert torch.autograd.gradgradcheck(lambda x, y: filtered(x, y, 0.7), (x, start))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neuron": "lifs"}, "Did you mean 'lif'"),
        ({"surrogate": "atan"}, "Did you mean 'arctan'"),
        ({"reset": "sof"}, "Did you mean 'soft'"),
        ({"tau": 3.0}, "Did you mean 'tau_mem'"),
        ({"refractory": -1}, "refractory=-1"),
        ({"surrogate_width": 0.0}, "surrogate_width=0.0"),
        ({"tau_mem": 0.5}, "decay_mem=-1 per step"),
        ({"tau_mem": 1.0, "learnable": True}, "to be learned"),
        ({"neuron": "alif", "tau_adapt": 0.0}, "tau_adapt=0.0"),
    ],
)
def test_bad_arguments_are_told(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Neurons(4, **arguments)
