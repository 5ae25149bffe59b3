"""Perturbed states."""

import numpy as np
import pytest

from trainers.adaptation.perturb import make_perturbation

STATE = (np.arange(1, 9.0).reshape(2, 4), np.arange(1, 25, dtype=np.float32).reshape(2, 3, 4))


def _first(state: object) -> int:
    return 0


def test_only_the_steps_of_the_window_are_perturbed() -> None:
    change = make_perturbation("zero", 5, 3, _first, 0)
    for step in range(10):
        changed = change(step, STATE)
        if 5 <= step < 8:
            assert all(
                (x == 0).all() and x.shape == y.shape and x.dtype == y.dtype for x, y in zip(changed, STATE, strict=True)
            )
        else:
            assert changed is STATE


def test_redraw_gives_no_state_so_that_policies_start_afresh() -> None:
    assert make_perturbation("redraw", 5, 1, _first, 0)(5, STATE) is None


@pytest.mark.parametrize("axis", [0, 1])
def test_shuffled_numbers_stay_with_their_environment(axis: int) -> None:
    states = tuple(np.moveaxis(x, 0, axis) for x in STATE)
    before = [x.copy() for x in states]
    shuffled = make_perturbation("shuffle", 5, 1, lambda state: axis, 0)(5, states)
    for x, y, kept in zip(shuffled, states, before, strict=True):
        np.testing.assert_array_equal(y, kept)
        assert x.shape == y.shape
        assert (x != y).any()
        rows, expected = (np.moveaxis(z, axis, 0).reshape(2, -1) for z in (x, y))
        np.testing.assert_array_equal(np.sort(rows), np.sort(expected))
    np.testing.assert_array_equal(shuffled[0], make_perturbation("shuffle", 5, 1, lambda state: axis, 0)(5, states)[0])


@pytest.mark.parametrize("nothing", [None, ()])
def test_policies_without_state_are_left_alone(nothing: object) -> None:
    assert make_perturbation("shuffle", 0, 9, _first, 0)(3, nothing) is nothing


@pytest.mark.parametrize("name", ["zero", "shuffle"])
def test_truth_values_are_no_numbers(name: str) -> None:
    begun = np.array([True, False])
    numbers, flags = make_perturbation(name, 0, 1, _first, 0)(0, (STATE[0], begun))
    assert (numbers != STATE[0]).any()
    np.testing.assert_array_equal(flags, begun)


def test_only_the_arrays_that_are_named() -> None:
    kept, zeroed = make_perturbation("zero", 0, 1, _first, 0, (1,))(0, STATE)
    assert kept is STATE[0]
    assert not zeroed.any()
