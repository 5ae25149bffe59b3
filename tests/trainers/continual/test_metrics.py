"""Metrics of continual learning against sums written out, and pictures of them."""

import numpy as np
import pytest

from trainers.continual.metrics import average_performance, forgetting, forward_transfer, summary, transfer

MATRIX = np.array([[8.0, 1.0, 0.0], [5.0, 6.0, 2.0], [4.0, 3.0, 9.0]])  # rows: after each task


def test_of_a_small_matrix_by_hand() -> None:
    assert average_performance(MATRIX) == pytest.approx((4 + 3 + 9) / 3)
    assert forgetting(MATRIX) == pytest.approx(((8 - 4) + (6 - 3) + 0) / 3)
    reference = np.array([4.0, 12.0, 9.0])
    assert average_performance(MATRIX, reference) == pytest.approx((1 + 0.25 + 1) / 3)
    assert forgetting(MATRIX, reference) == pytest.approx((1 + 0.25 + 0) / 3)
    assert transfer(MATRIX, reference) == pytest.approx((1 - 0.5 + 0) / 3)


def test_chance_is_zero_where_it_is_known() -> None:
    chance, reference = np.array([-2.0, 0.0, 1.0]), np.array([-1.0, 3.0, 5.0])
    assert average_performance(MATRIX, reference, chance) == pytest.approx((6 + 1 + 2) / 3)
    learned_alone = np.vstack([reference] * 3)
    assert average_performance(learned_alone, reference, chance) == pytest.approx(1.0)
    assert transfer(learned_alone, reference, chance) == pytest.approx(0.0)


def test_references_below_zero_are_no_divisors() -> None:
    assert "performance / R" in summary(MATRIX, np.array([4.0, 12.0, 9.0]))
    assert "performance / R" not in summary(MATRIX, np.array([-4.0, 12.0, 9.0]), np.zeros(3))


def test_where_the_reference_is_no_better_than_chance_nothing_is_normalised() -> None:
    matrix = np.array([[1.0, 0.0], [2.0, 3.0]])
    assert "performance, chance 0" in summary(matrix, np.array([2.0, 2.0]), np.array([1.0, 1.9]))
    assert "performance, chance 0" not in summary(matrix, np.array([2.0, 2.0]), np.array([1.0, 2.0]))


def test_forward_transfer_is_what_is_won_of_what_was_left_to_win() -> None:
    assert forward_transfer([0.5, 0.9], [0.0, 0.8]) == pytest.approx((0.5 + 0.5) / 2)
    assert forward_transfer([0.2], [0.2]) == 0.0
    with pytest.raises(ValueError, match="no transfer to be measured"):
        forward_transfer([0.5], [1.0])
