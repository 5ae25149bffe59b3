import math

import numpy as np
import pytest
import torch

from policies.surrogate import SURROGATES, Surrogate


def _normal(x, centre, width):
    return np.exp(-((x - centre) ** 2) / (2 * width**2)) / (width * math.sqrt(2 * math.pi))


FORMULAS = {
    "rectangular": lambda u, w: (np.abs(u) < w / 2) / w,
    "arctan": lambda u, w: 1 / (w * (1 + (np.pi * u / w) ** 2)),
    "fast_sigmoid": lambda u, w: 1 / (1 + np.abs(u) / w) ** 2,
    "gaussian": lambda u, w: _normal(u, 0, w),
    "multi_gaussian": lambda u, w: 0.575 * _normal(u, 0, w) - 0.075 * (_normal(u, w, 6 * w) + _normal(u, -w, 6 * w)),
    "triangular": lambda u, w: np.maximum(0, 1 - np.abs(u) / w),
}


@pytest.mark.parametrize("width", [0.3, 1.7])
@pytest.mark.parametrize("name", SURROGATES)
def test_derivative_is_the_formula(name: str, width: float) -> None:
    u = np.linspace(-3.01, 3.0, 500)
    x = torch.tensor(u, requires_grad=True)
    spikes = Surrogate(name, width)(x)
    np.testing.assert_array_equal(spikes.detach().numpy(), u > 0)
    spikes.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), FORMULAS[name](u, width), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("name", SURROGATES)
def test_far_from_the_threshold_the_derivative_is_a_small_number(name: str) -> None:
    u = torch.tensor([-1e30, -2e4, -2e3, 2e3, 2e4, 1e30])
    assert Surrogate(name).derivative(u).abs().max() < 1e-6


@pytest.mark.parametrize("name", SURROGATES)
def test_unit_changes_the_scale_of_u_alone(name: str) -> None:
    u = torch.linspace(-2, 2, 101, dtype=torch.double)
    surrogate = Surrogate(name)
    torch.testing.assert_close(surrogate.derivative(u / 0.25, 0.25), 0.25 * surrogate.derivative(u.clone()))


@pytest.mark.parametrize("name", [name for name, shape in SURROGATES.items() if shape.unit_area and name != "multi_gaussian"])
def test_area_is_one(name: str) -> None:
    u = torch.linspace(-2000, 2000, 4_000_001, dtype=torch.double)
    area = Surrogate(name, 1.5).derivative(u).sum() * 0.001
    assert area == pytest.approx(1.0, abs=1e-3)
