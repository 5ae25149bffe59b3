"""Tables of results: rows of plain values, printed and as CSV."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from trainers.checkpoint import write_atomically

Row = dict[str, Any]


def write_csv(path: Path, rows: list[Row]) -> None:
    """All rows, replacing the file at once."""
    write_atomically(path, to_csv(rows))


def to_csv(rows: list[Row]) -> bytes:
    """All columns of all rows; unknown values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="")
    writer.writeheader()
    writer.writerows({name: "" if _unknown(value) else value for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def to_text(rows: list[Row], hidden: tuple[str, ...] = ()) -> str:
    """Columns under each other, text to the left and numbers to the right; unknown values are "-", empty columns are left
    out, and x_sd stands behind x."""
    names = [n for n in dict.fromkeys(n for row in rows for n in row) if any(row.get(n, "") != "" for row in rows)]
    columns = []
    for name in names:
        if name in hidden or name.endswith("_sd"):
            continue
        cells = [cell(row, name) for row in rows]
        width = max(map(len, [name, *cells]))
        left = all(isinstance(row.get(name, ""), str) for row in rows)
        columns.append([f"{text:{'<' if left else '>'}{width}}" for text in [name.replace("_", " "), *cells]])
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


def to_markdown(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """Of cells that are text already; columns after the first `left` are numbers."""
    rule = ["---"] * left + ["---:"] * (len(headings) - left)
    return "".join(f"| {' | '.join(line)} |\n" for line in (headings, rule, *rows))


def wide_console() -> Console:
    """For rich's tables: where there is no terminal, wide enough for them."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def cell(row: Row, name: str) -> str:
    """A value as it is printed."""
    text = _number(row.get(name, ""))
    return f"{text} +- {_number(row[name + '_sd'])}" if name + "_sd" in row else text


def _number(value: Any) -> str:
    if _unknown(value):
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return str(value)


def _unknown(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
