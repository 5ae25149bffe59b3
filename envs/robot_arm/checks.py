"""Refusals of bad arguments: each says what was given and what is allowed."""

import difflib
import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np


def unknown(kind: str, given: object, known: Iterable[str]) -> str:
    """Sentence on a name that is not among the `known` ones."""
    names = list(known)
    near = difflib.get_close_matches(str(given).lower(), names, n=1, cutoff=0.0)[0]
    return f"Unknown {kind} '{given}'. Did you mean '{near}'? Known: {', '.join(names)}."


def choice(name: str, given: object, known: Iterable[str]) -> str:
    """`given`, which has to be one of the `known` names."""
    names = list(known)
    if not isinstance(given, str) or given not in names:
        raise ValueError(unknown(name, given, names))
    return given


def integer(name: str, given: Any, low: int, high: int | None = None) -> int:
    """`given` as an int, which has to be at least `low` and at most `high`."""
    whole = isinstance(given, Integral) and not isinstance(given, bool)
    if not whole or given < low or (high is not None and given > high):
        allowed = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}={given!r} must be an integer of {allowed}.")
    return int(given)


def number(name: str, given: Any, low: float, high: float = math.inf, above: bool = False) -> float:
    """`given` as a finite float in [low, high]; `above` leaves `low` itself out."""
    real = isinstance(given, Real) and not isinstance(given, bool) and math.isfinite(given)
    if not real or given < low or given > high or (above and given == low):
        upper = "" if high == math.inf else f" and at most {high:g}"
        raise ValueError(f"{name}={given!r} must be a finite number {'above' if above else 'of at least'} {low:g}{upper}.")
    return float(given)


def pair(name: str, given: Any) -> tuple[float, float]:
    """`given` as two positive floats."""
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise ValueError(f"{name}={given!r} must be two positive numbers.")
    return number(f"{name}[0]", given[0], 0.0, above=True), number(f"{name}[1]", given[1], 0.0, above=True)


def action(given: Any) -> tuple[float, float]:
    """Two finite numbers, clipped to [-1, 1]."""
    try:
        a = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        a = np.empty(0)
    if a.shape != (2,):
        raise ValueError(f"action={given!r} must be two numbers, the velocities of the two joints.")
    if not np.isfinite(a).all():
        raise ValueError(f"action={given!r} must be finite; NaN or infinity cannot move the arm.")
    a0, a1 = np.clip(a, -1.0, 1.0).tolist()
    return a0, a1
