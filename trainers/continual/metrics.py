"""What continual learners are measured by, from the performance of every task after every task."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def average_performance(matrix: np.ndarray, reference: np.ndarray | None = None, random: np.ndarray | None = None) -> float:
    """P = mean_i p_i(T): how well all tasks are done at the end.

    :param matrix: performance p_i(j) on task i (column) after learning task j (row), (T, T)
    :param reference: R_i of a policy that learned only this task, from scratch, (T,); p_i is divided by it
    :param random: performance before any learning (T,), subtracted from p_i and R_i, where ratios alone make no sense
    """
    return float(np.mean(_scaled(matrix[-1], reference, random)))


def forgetting(matrix: np.ndarray, reference: np.ndarray | None = None, random: np.ndarray | None = None) -> float:
    """F = mean_i [p_i(i) - p_i(T)]: what is lost of a task between its own end and the end of all; positive is lost."""
    return float(np.mean(_scaled(np.diagonal(matrix), reference, random) - _scaled(matrix[-1], reference, random)))


def transfer(matrix: np.ndarray, reference: np.ndarray, random: np.ndarray | None = None) -> float:
    """Tr = mean_i [p_i(i) - R_i] / R_i: how much better a task was learned than from scratch (Gaya et al. 2022)."""
    return float(np.mean(_scaled(np.diagonal(matrix), reference, random) - 1.0))


def forward_transfer(areas: Sequence[float], reference: Sequence[float]) -> float:
    """mean_i (AUC_i - AUC_i^ref) / (1 - AUC_i^ref), with the mean success while a task is learned (Wolczyk et al. 2021)."""
    own, alone = np.asarray(areas, float), np.asarray(reference, float)
    if (alone >= 1.0).any():
        raise ValueError("A reference that succeeds from the first step on leaves no transfer to be measured.")
    return float(np.mean((own - alone) / (1.0 - alone)))


def summary(matrix: np.ndarray, reference: np.ndarray | None = None, random: np.ndarray | None = None) -> dict[str, float]:
    """All that can be told: raw, and with a reference normalised, by R_i if none is below zero, and by R_i less chance if
    all are above it."""
    found: dict[str, Any] = {"performance": average_performance(matrix), "forgetting": forgetting(matrix)}
    if reference is not None and (reference > 0).all():
        found |= {
            "performance / R": average_performance(matrix, reference),
            "forgetting / R": forgetting(matrix, reference),
            "transfer / R": transfer(matrix, reference),
        }
    if reference is not None and random is not None and (reference > random).all():
        found |= {
            "performance, chance 0": average_performance(matrix, reference, random),
            "forgetting, chance 0": forgetting(matrix, reference, random),
            "transfer, chance 0": transfer(matrix, reference, random),
        }
    return found


def _scaled(values: np.ndarray, reference: np.ndarray | None, random: np.ndarray | None) -> np.ndarray:
    if reference is None:
        return values
    low = 0.0 if random is None else random
    return (values - low) / (reference - low)
