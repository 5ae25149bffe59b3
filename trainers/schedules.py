"""Hyper-parameters that change over a run, in Stable-Baselines3's convention."""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]
GenerationSchedule = Callable[[float, int], float]


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


def make_generation_schedule(value: float | str, name: str) -> GenerationSchedule:
    """A function of the progress remaining and of the generations done: a schedule of `make_schedule`, or geometric decay.

    "exp_0.2_0.995_0.001" is max(0.2 * 0.995**generation, 0.001): it depends on no length of the run. ValueError for
    anything else.
    """
    if not (isinstance(value, str) and value.startswith("exp_")):
        schedule = make_schedule(value, name)
        return lambda remaining, generation: schedule(remaining)
    try:
        start, factor, floor = (float(part) for part in value.removeprefix("exp_").split("_"))
    except ValueError:
        raise ValueError(
            f"{name}='{value}' is not of the form 'exp_START_FACTOR_FLOOR', such as 'exp_0.2_0.995_0.001'."
        ) from None
    if not (0 < factor <= 1 and 0 <= floor <= start < math.inf):
        raise ValueError(f"{name}='{value}' must have a factor in (0, 1] and a floor from 0 to its start.")
    return lambda remaining, generation: max(start * factor**generation, floor)
