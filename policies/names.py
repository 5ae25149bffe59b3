"""Names that users type, looked up with an error that helps."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(what: str, name: str, table: Mapping[str, T]) -> T:
    """The entry of that name; ValueError with the nearest name for an unknown one."""
    if name not in table:
        raise ValueError(f"Unknown {what} '{name}'. {nearest(name, table)}")
    return table[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """ "Did you mean 'a'? Known: a, b." """
    lower = {key.lower(): key for key in known}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.0)[0]
    return f"Did you mean '{lower[near]}'? Known: {', '.join(lower.values())}."


def unexpected(error: TypeError) -> str | None:
    """The argument that a call does not take; None if the error is another."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    return found[1] if found else None
