"""`python -m trainers.continual report`: methods side by side."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from trainers.adaptation.tables import Row, cell, to_csv, to_text
from trainers.checkpoint import write_atomically
from trainers.continual.metrics import forward_transfer, summary
from trainers.continual.plots import heat_map
from trainers.continual.results import Result, find_results, read_result

REFERENCE = "sac_n"
SETTINGS = ("policy", "physics", "fidelity", "n_envs", "net_arch", "update_ratio")


@dataclass
class ReportConfig:
    """Compare finished runs: a row for each method, means over seeds and their spread. Runs of sac_n, which learns every task
    from scratch, are what the others are normalised by."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folders of runs, or folders that hold some."""
    out: str | None = None
    """Folder for table.md, table.csv and heatmaps.png (default: the first RUN)."""


def compare(config: ReportConfig) -> list[Row]:
    """Print and write the tables of all scenarios among the runs; their rows."""
    groups: dict[tuple[str, ...], dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for folder in find_results([Path(run) for run in config.runs]):
        result = read_result(folder)
        settings = [f"{name} {getattr(result.config, name)}" for name in SETTINGS]
        key = (result.scenario, f"{result.budget:,} steps", *result.tasks, *settings)
        if any(r.config.seed == result.config.seed for r in groups[key][result.config.method]):
            raise ValueError(
                f"'{folder}' is a second run of {result.config.method} with seed {result.config.seed}; leave one out."
            )
        groups[key][result.config.method].append(result)
    out = Path(config.out or config.runs[0])
    rows: list[Row] = []
    for i, methods in enumerate(groups.values()):
        own = [_row(method, results, methods.get(REFERENCE)) for method, results in methods.items()]
        own.sort(key=lambda row: -float(row["performance"]))
        rows += own
        first = next(iter(methods.values()))[0]
        print(f"{first.scenario}: {first.metric}, {len(first.tasks)} tasks of {first.budget:,} steps, a share of "
              f"{first.budget / first.published:.2g} of the scenario's")  # fmt: skip
        print(to_text(own, hidden=("scenario",)))
        panels = [(f"{m}, {_seeds(len(r))}", np.mean([x.matrix for x in r], axis=0)) for m, r in methods.items()]
        name = f"heatmaps{'' if len(groups) == 1 else f'_{i + 1}'}.png"
        write_atomically(out / name, heat_map(panels, first.tasks))
        print(f"Picture: {out / name}")
    write_atomically(out / "table.csv", to_csv(rows))
    write_atomically(out / "table.md", _markdown(rows).encode())
    return rows


def _row(method: str, results: list[Result], references: list[Result] | None) -> Row:
    reference = chance = None
    if references is not None:
        reference = np.mean([np.diagonal(r.matrix[1:]) for r in references], axis=0)
        chance = np.mean([r.matrix[0] for r in references], axis=0)
    found = [summary(r.matrix[1:], reference, chance) for r in results]
    row: Row = {"scenario": results[0].scenario, "method": method, "seeds": len(results)}
    for name in found[0]:
        values = [f[name] for f in found]
        row |= {name: float(np.mean(values))}
        if len(values) > 1:
            row |= {f"{name}_sd": float(np.std(values, ddof=1))}
    if references is not None and references[0].areas is not None:
        alone = np.mean([r.areas for r in references if r.areas is not None], axis=0)
        row |= {"forward transfer": float(np.mean([forward_transfer(r.areas, alone) for r in results if r.areas is not None]))}
    last = results[-1]
    row |= {"size to act": last.inference_size / last.actor_size, "size to learn": last.train_size / last.actor_size}
    return row | {f"{name} steps": steps for name, steps in last.steps.items()}


def _markdown(rows: list[Row]) -> str:
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if not name.endswith("_sd")]
    lines = [names, ["---"] * len(names), *([cell(row, name) for name in names] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
