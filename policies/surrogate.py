"""Surrogate gradients: what stands for the derivative of the spike function, whose own is zero."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from policies.names import choose


def rectangular(u: Tensor, width: float, scale: float = 1.0) -> Tensor:
    """1 / width within width / 2 of the threshold, else 0 (PopSAN: width 1)."""
    return (u.abs() < width / 2).to(u.dtype).mul_(scale / width)


def arctan(u: Tensor, width: float, scale: float = 1.0) -> Tensor:
    """(1 / width) / (1 + (pi u / width)^2), never exactly 0 (ACSF: width 1)."""
    return (u * (math.pi / width)).square_().add_(1.0).reciprocal_().mul_(scale / width)


def fast_sigmoid(u: Tensor, width: float, scale: float = 1.0) -> Tensor:
    """1 / (1 + |u| / width)^2, SuperSpike (Zenke & Ganguli, 2018); peak 1."""
    return u.abs().div_(width).add_(1.0).square_().reciprocal_().mul_(scale)


def gaussian(u: Tensor, width: float, scale: float = 1.0) -> Tensor:
    """The normal density with standard deviation `width`."""
    return (u / width).square_().mul_(-0.5).exp_().mul_(scale / (width * math.sqrt(2 * math.pi)))


def multi_gaussian(u: Tensor, width: float, scale: float = 1.0) -> Tensor:
    """(1 + h) N(u; 0, width) - h N(u; +-width, 6 width) with h = 0.15, slightly negative beside the threshold
    (Yin, Corradi & Bohte, Nature Machine Intelligence 2021)."""
    h, wide = 0.15, 6.0 * width
    sides = gaussian(u - width, wide, scale).add_(gaussian(u + width, wide, scale))
    return gaussian(u, width, (1.0 + h) * scale).sub_(sides, alpha=h)


def triangular(u: Tensor, width: float, scale: float = 1.0) -> Tensor:
    """max(0, 1 - |u| / width), peak 1 (Bellec et al., 2018)."""
    return u.abs().div_(-width).add_(1.0).clamp_(min=0.0).mul_(scale)


SURROGATES: dict[str, tuple[Callable[[Tensor, float, float], Tensor], float]] = {
    "rectangular": (rectangular, 1.0),
    "arctan": (arctan, 1.0),
    "fast_sigmoid": (fast_sigmoid, 0.1),
    "gaussian": (gaussian, 0.5),
    "multi_gaussian": (multi_gaussian, 0.5),
    "triangular": (triangular, 1.0),
}
"""Name -> (derivative at distance u from the threshold, default width)."""


class Surrogate:
    """A named surrogate of some width; `surrogate(u)` spikes where u > 0, `surrogate.derivative(u)` is its derivative.

    :param width: how far from the threshold gradients reach, in units of the potential (default: the published one)
    """

    def __init__(self, name: str, width: float | None = None) -> None:
        self.function, default = choose("surrogate", name, SURROGATES)
        self.width = default if width is None else width
        if not self.width > 0:
            raise ValueError(f"surrogate_width={width} must be positive.")
        self.name = name

    def __call__(self, u: Tensor) -> Tensor:
        spikes: Tensor = _Spike.apply(u, self)
        return spikes

    def derivative(self, u: Tensor, scale: float = 1.0) -> Tensor:
        """d spike / du at every element of u times `scale`, in a new tensor."""
        return self.function(u, self.width, scale)


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(u), None
