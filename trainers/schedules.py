"""Hyper-parameters that change over a run, in Stable-Baselines3's convention."""

from collections.abc import Callable

Schedule = Callable[[float], float]


def make_schedule(value: float | str, name: str) -> Schedule:
    """A function of the progress remaining (1 at the start, 0 at the end).

    A number stays constant; "lin_0.1" falls linearly from 0.1 to 0. ValueError for anything else.
    """
    try:
        if isinstance(value, str) and value.startswith("lin_"):
            start = float(value.removeprefix("lin_"))
            return lambda remaining: start * remaining
        constant = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}='{value}' is neither a number nor a schedule such as 'lin_0.1'.") from None
    return lambda remaining: constant
