import pytest
import torch

from policies.equations.neurons import RESETS
from policies.fused import CHUNK
from policies.neurons import Neurons, unroll


def _plain(layer: Neurons):
    return lambda x: unroll(layer.step, x, layer.rest(x[0]))


def _currents(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (0.8 + 1.5 * torch.randn(shape, dtype=torch.double, generator=generator)).requires_grad_()


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("reset", RESETS)
def test_long_sequences_of_large_layers_have_the_gradients_of_a_plain_loop(reset: str, detach_reset: bool) -> None:
    layer = Neurons(701, reset=reset, detach_reset=detach_reset)
    x = _currents(13, 64, 701)
    steps = CHUNK // x[0].numel()
    assert 1 < steps < 13
    assert 13 % steps  # several pieces of work, the last of them shorter
    weight = torch.randn(x.shape, dtype=torch.double)
    grads = [torch.autograd.grad(run(x)[0], x, weight)[0] for run in (layer, _plain(layer))]
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("seen", ["spikes", "last potential", "one spike train"])
def test_a_loss_need_not_see_everything(seen: str, reset: str) -> None:
    layer = Neurons(6, reset=reset, tau_mem=3.0)
    x = _currents(7, 4, 6)
    grads = []
    for run in (layer, _plain(layer)):
        spikes, (v,) = run(x)
        loss = {"spikes": spikes, "last potential": v, "one spike train": spikes[:, 1, 2]}[seen].sum()
        grads.append(torch.autograd.grad(loss, x)[0])
    assert (grads[1] != 0).any()
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("reset", RESETS)
def test_a_graph_may_be_gone_through_several_times(reset: str) -> None:
    layer = Neurons(6, reset=reset)
    x = _currents(7, 4, 6)
    start = torch.rand(4, 6, dtype=torch.double, requires_grad=True)
    first, second = torch.randn(2, 7, 4, 6, dtype=torch.double)
    spikes, (v,) = layer(x, (start,))
    before = v.detach().clone()
    grads = [torch.autograd.grad(spikes, (x, start), weight, retain_graph=True) for weight in (first, second)]
    expected, _ = unroll(layer.step, x, (start,))
    for weight, found in zip((first, second), grads, strict=True):
        torch.testing.assert_close(
            found, torch.autograd.grad(expected, (x, start), weight, retain_graph=True), rtol=0, atol=1e-12
        )
    torch.testing.assert_close(v, before, rtol=0, atol=0)


@pytest.mark.parametrize("reset", RESETS)
def test_without_gradients_nothing_else_changes(reset: str) -> None:
    layer = Neurons(6, reset=reset, v_rest=0.1)
    x = _currents(7, 4, 6)
    state = (torch.rand(4, 6, dtype=torch.double),)
    before = x.detach().clone(), state[0].clone()
    with torch.no_grad():
        spikes, (v,) = layer(x, state)
        expected, (end,) = unroll(layer.step, x, state)
    torch.testing.assert_close(spikes, expected, rtol=0, atol=0)
    torch.testing.assert_close(v, end, rtol=0, atol=1e-12)
    torch.testing.assert_close((x.detach(), state[0]), before, rtol=0, atol=0)


def test_a_freed_graph_is_refused() -> None:
    x = _currents(3, 2, 4)
    spikes, _ = Neurons(4)(x)
    spikes.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        spikes.sum().backward()
