import pytest
import torch
from torch.nn.functional import linear

from policies.events import weight_gradient, weighted


def _inputs(filled: float, dtype: torch.dtype) -> torch.Tensor:
    """(7, 3, 13) with that part not zero, a whole sample of nothing among them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(1, 4, (7, 3, 13), generator=generator)
    x = x * (torch.rand(x.shape, generator=generator) < filled)
    x[2, 1] = 0
    return x.to(dtype)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.double])
@pytest.mark.parametrize("filled", [0.0, 0.1, 0.8])
@pytest.mark.parametrize("outputs", [1, 130])
def test_sums_and_gradients_equal_the_dense_product(dtype: torch.dtype, filled: float, outputs: int) -> None:
    x = _inputs(filled, dtype)
    weight = torch.randn(outputs, 13, dtype=torch.double, requires_grad=True)
    bias = torch.randn(outputs, dtype=torch.double, requires_grad=True)
    given = [weight, bias] if dtype == torch.uint8 else [x.requires_grad_(), weight, bias]
    out, expected = weighted(x, weight, bias), linear(x.double(), weight, bias)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-13)
    grad = torch.randn_like(out)
    grads, expected_grads = (torch.autograd.grad(y, given, grad) for y in (out, expected))
    torch.testing.assert_close(grads, expected_grads, rtol=0, atol=1e-12)
    rows = grad.flatten(0, 1)
    torch.testing.assert_close(
        weight_gradient(rows, x.detach().double().flatten(0, 1)), expected_grads[-2], rtol=0, atol=1e-12
    )


def test_second_derivatives_are_those_of_the_dense_product() -> None:
    x = _inputs(0.1, torch.double).requires_grad_()
    weight, bias = torch.randn(130, 13, dtype=torch.double, requires_grad=True), torch.zeros(130, dtype=torch.double)
    seconds = []
    for product in (weighted, linear):
        g_x, g_weight = torch.autograd.grad((product(x, weight, bias) ** 3).sum(), (x, weight), create_graph=True)
        seconds.append(torch.autograd.grad((g_x**2).sum() + (g_weight**2).sum(), (x, weight)))
    torch.testing.assert_close(seconds[0], seconds[1])


def test_slices_of_memory_are_read_in_order() -> None:
    x = _inputs(0.1, torch.uint8)
    weight, bias = torch.randn(130, 13), torch.randn(130)
    torch.testing.assert_close(weighted(x.swapaxes(0, 1), weight, bias), weighted(x, weight, bias).swapaxes(0, 1))
    torch.testing.assert_close(weighted(x[1:, ::2], weight, bias), weighted(x, weight, bias)[1:, ::2])


def test_numbers_of_another_precision_are_refused_as_by_torch() -> None:
    with pytest.raises(RuntimeError, match="dtype"):
        weighted(_inputs(0.1, torch.double), torch.randn(5, 13), torch.randn(5))
