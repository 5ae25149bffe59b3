"""Tables are read back as they were written."""

import csv
import io
import math

from trainers.tables import to_csv, to_markdown, to_text, write_csv

ROWS = [{"limb": "front, left", "return": 12.345, "return_sd": 0.5}, {"limb": "none", "return": math.nan, "n": 3}]


def test_csv_has_all_columns_and_nothing_for_what_is_unknown(tmp_path) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(ROWS).decode())))
    assert rows == [
        {"limb": "front, left", "return": "12.345", "return_sd": "0.5", "n": ""},
        {"limb": "none", "return": "", "return_sd": "", "n": "3"},
    ]
    write_csv(tmp_path / "table.csv", ROWS)
    assert (tmp_path / "table.csv").read_bytes() == to_csv(ROWS)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_text_stands_left_and_numbers_right() -> None:
    assert to_text(ROWS).splitlines() == [
        "limb               return  n",
        "front, left  12.3 +- 0.50",
        "none                    -  3",
    ]
    assert to_text(ROWS, hidden=("limb", "n")).splitlines() == ["      return", "12.3 +- 0.50", "           -"]


def test_markdown_aligns_numbers() -> None:
    assert to_markdown(["a", "b"], [["x", "1"], ["y", "2"]], left=1) == "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |\n"
