"""What is added to the error: targets for how much, how much together, and how lastingly neurons fire."""

import torch
from torch import Tensor

BIN = 10  # steps


def rate_penalty(spikes: Tensor, target: float) -> Tensor:
    """Squared distance of each neuron's mean spikes per step from `target`, averaged over neurons; spikes (T, B, N)."""
    return ((spikes.mean(dim=(0, 1)) - target) ** 2).mean()


def fano_factor(spikes: Tensor) -> Tensor:
    """Synchrony: variance over mean of the spikes of the whole network in bins of ten steps, averaged over samples.

    Neurons that fire independently of each other give 1 or less; sums over neurons that fire together give more.
    """
    counts = spikes[: len(spikes) // BIN * BIN].sum(dim=2).unflatten(0, (-1, BIN)).sum(dim=1)  # (bins, B)
    return (counts.var(dim=0, unbiased=False) / counts.mean(dim=0).clamp(min=1e-6)).mean()


def branching_parameter(spikes: Tensor) -> Tensor:
    """Mean over steps with spikes of the number of spikes one step later, over that of the step: 1 is critical."""
    counts = spikes.sum(dim=2)  # (T, B)
    before, after = counts[:-1], counts[1:]
    some = before > 0
    if not some.any():
        return counts.sum() * 0.0
    return (after[some] / before[some]).mean()


def activity_penalty(
    spikes: tuple[Tensor, ...], rate: tuple[float, float], synchrony: tuple[float, float], branching: tuple[float, float]
) -> Tensor:
    """Weighted squared distances from the targets, each a (weight, target) that is left out at weight 0."""
    total = spikes[0].new_zeros(())
    for layer in spikes:
        if rate[0]:
            total = total + rate[0] * rate_penalty(layer, rate[1])
        if synchrony[0]:
            total = total + synchrony[0] * (fano_factor(layer) - synchrony[1]) ** 2
        if branching[0]:
            total = total + branching[0] * (branching_parameter(layer) - branching[1]) ** 2
    return total


def mean_rate(spikes: tuple[Tensor, ...]) -> float:
    """Spikes per neuron and step."""
    return float(torch.cat([layer.detach().mean(dim=(0, 1)) for layer in spikes]).mean())
