"""Changes of what a policy keeps from step to step: membranes, LSTM states, fast weights.

Truth values among them, such as whether an episode has begun, are left as they are.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

State = tuple[np.ndarray, ...]


def zero(state: State, axis: int, rng: np.random.Generator) -> State:
    """Every number zero."""
    return tuple(x if x.dtype == bool else np.zeros_like(x) for x in state)


def shuffle(state: State, axis: int, rng: np.random.Generator) -> State:
    """The numbers of every array change places, those of each environment among themselves."""
    return tuple(x if x.dtype == bool else _shuffle_rows(x, axis, rng) for x in state)


def redraw(state: State, axis: int, rng: np.random.Generator) -> None:
    """The state of a new episode: without one, every policy starts afresh."""
    return None


PERTURBATIONS: dict[str, Callable[[State, int, np.random.Generator], State | None]] = {
    "zero": zero,
    "shuffle": shuffle,
    "redraw": redraw,
}
"""(state of n environments, the axis of its arrays along which they are, random numbers) -> state."""


def make_perturbation(
    name: str, at: int, steps: int, axis_of: Callable[[State], int], seed: int, arrays: tuple[int, ...] = ()
) -> Callable[[int, Any], Any]:
    """A `change_state` for `policies.watch.play` that perturbs in each of the steps from `at` to `at + steps - 1`.

    :param axis_of: state -> the axis of its arrays along which the environments are
    :param arrays: which arrays of the state it concerns (default: all; all of them for "redraw")
    """
    perturb = PERTURBATIONS[name]

    def change_state(step: int, state: Any) -> Any:
        if not state or not at <= step < at + steps:
            return state
        changed = perturb(state, axis_of(state), np.random.default_rng((seed, step)))
        if changed is None or not arrays:
            return changed
        return tuple(new if i in arrays else old for i, (new, old) in enumerate(zip(changed, state, strict=True)))

    return change_state


def _shuffle_rows(x: np.ndarray, axis: int, rng: np.random.Generator) -> np.ndarray:
    rows = np.moveaxis(x, axis, 0)
    shuffled = rng.permuted(rows.reshape(len(rows), -1), axis=1).reshape(rows.shape)
    return np.moveaxis(shuffled, 0, axis)
