"""Surrogate gradients: what stands for the derivative of the spike function, whose own is zero."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from policies.names import choose


@functools.lru_cache(maxsize=256)
def constant(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A 0-d tensor; operations with it need not convert a Python number at each call."""
    return torch.tensor(value, dtype=dtype, device=device)


# Each overwrites u, the distance to the threshold, with scale * f(u / width).


def rectangular(u: Tensor, width: float, scale: float) -> Tensor:
    """f(x) = 1 where |x| < 1/2, else 0 (PopSAN)."""
    return u.abs_().lt_(width / 2).mul_(scale)


def arctan(u: Tensor, width: float, scale: float) -> Tensor:
    """f(x) = 1 / (1 + (pi x)^2), never exactly 0 (ACSF)."""
    peak = constant(1.0 / scale, u.dtype, u.device)
    return torch.addcmul(peak, u, u, value=(math.pi / width) ** 2 / scale, out=u).reciprocal_()


def fast_sigmoid(u: Tensor, width: float, scale: float) -> Tensor:
    """f(x) = 1 / (1 + |x|)^2, SuperSpike (Zenke & Ganguli, Neural Computation 2018)."""
    return u.abs_().div_(width).add_(1.0).square_().reciprocal_().mul_(scale)


def gaussian(u: Tensor, width: float, scale: float) -> Tensor:
    """f(x) = exp(-x^2 / 2) / sqrt(2 pi)."""
    return u.square_().mul_(-0.5 / width**2).exp_().mul_(scale / math.sqrt(2 * math.pi))


def multi_gaussian(u: Tensor, width: float, scale: float) -> Tensor:
    """f(x) = (1.15 N(x; 0, 1) - 0.15 N(x; 1, 6) - 0.15 N(x; -1, 6)) / 2, slightly negative beside the threshold (Yin, Corradi
    & Bohte, Nature Machine Intelligence 2021; half, as in their code)."""
    # exp(-(u - w)^2 / 72 w^2) + exp(-(u + w)^2 / 72 w^2) = 2 exp(-1 / 72) exp(-u^2 / 72 w^2) cosh(u / 36 w),
    # which is 0 at 1000 widths already; farther out exp gives 0, and cosh would not give a number.
    sides = u.clamp(-1000 * width, 1000 * width).mul_(1 / (36 * width)).cosh_()
    squares = u.square_()
    sides.mul_((squares * (-1 / (72 * width**2))).exp_())
    root = math.sqrt(2 * math.pi)
    middle = squares.mul_(-0.5 / width**2).exp_().mul_(0.575 * scale / root)
    return middle.sub_(sides, alpha=0.15 * scale / (6 * root) * math.exp(-1 / 72))


def triangular(u: Tensor, width: float, scale: float) -> Tensor:
    """f(x) = max(0, 1 - |x|) (Bellec et al., NeurIPS 2018)."""
    return u.abs_().div_(-width).add_(1.0).clamp_(min=0.0).mul_(scale)


class Shape(NamedTuple):
    """A surrogate's form, its default width, and whether it is divided by the width, so that its area is 1."""

    function: Callable[[Tensor, float, float], Tensor]
    width: float
    unit_area: bool


SURROGATES: dict[str, Shape] = {
    "rectangular": Shape(rectangular, 1.0, True),
    "arctan": Shape(arctan, 1.0, True),
    "fast_sigmoid": Shape(fast_sigmoid, 0.1, False),
    "gaussian": Shape(gaussian, 0.5, True),
    "multi_gaussian": Shape(multi_gaussian, 0.5, True),
    "triangular": Shape(triangular, 1.0, False),
}


class Surrogate:
    """A named surrogate of some width; `surrogate(u)` spikes where u > 0, `surrogate.derivative(u)` is its derivative.

    :param width: how far from the threshold gradients reach, in units of the potential (default: the published one)
    """

    def __init__(self, name: str, width: float | None = None) -> None:
        self.shape = choose("surrogate", name, SURROGATES)
        self.width = self.shape.width if width is None else width
        if not self.width > 0:
            raise ValueError(f"surrogate_width={width} must be positive.")
        self.name = name

    def __call__(self, u: Tensor) -> Tensor:
        spikes: Tensor = _Spike.apply(u, self)
        return spikes

    def derivative(self, u: Tensor, unit: float = 1.0) -> Tensor:
        """d spike / du at every element of u, which is overwritten.

        :param unit: u is counted in this many units of the potential
        """
        scale = unit / self.width if self.shape.unit_area else unit
        return self.shape.function(u, self.width / unit, scale)


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        # Second derivatives take the slope as constant, which is what TRPO's Fisher-vector products need.
        return grads[0] * ctx.surrogate.derivative(u.detach().clone()), None
