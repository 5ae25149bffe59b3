"""`python -m trainers.continual report`: methods side by side."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from trainers.checkpoint import write_atomically
from trainers.continual.config import ContinualConfig
from trainers.continual.metrics import forward_transfer, summary
from trainers.continual.plots import heat_map
from trainers.continual.results import Result, find_results, find_unfinished, read_result
from trainers.tables import Row, cell, to_markdown, to_text, write_csv

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
    folders = [Path(run) for run in config.runs]
    groups: dict[tuple[str, ...], list[Result]] = defaultdict(list)
    for folder in find_results(folders):
        result = read_result(folder)
        settings = [f"{name} {getattr(result.config, name)}" for name in SETTINGS]
        groups[(result.scenario, f"{result.budget:,} steps", *result.tasks, *settings)].append(result)
    out = Path(config.out or config.runs[0])
    for stale in out.glob("heatmaps*.png"):
        stale.unlink()
    rows: list[Row] = []
    for i, (key, results) in enumerate(groups.items()):
        methods = _by_method(results)
        references = methods.get(REFERENCE)
        own = [_row(method, results, references) for method, results in methods.items()]
        own.sort(key=lambda row: -float(row["performance"]))
        rows += own
        first = results[0]
        alike = [other for other in groups if other[0] == first.scenario]
        special = [part for part in key if not part.endswith(" steps") and any(part not in other for other in alike)]
        print(f"{', '.join([first.scenario, *special])}: {first.metric}, {len(first.tasks)} tasks of {first.budget:,} steps, "
              f"a share of {first.budget / first.published:.2g} of the scenario's")  # fmt: skip
        print(to_text(own, hidden=("scenario",)))
        if references is not None and {"performance / R", "performance, chance 0"}.isdisjoint(own[0]):
            print(f"Nothing in shares of what {REFERENCE} earns: in some task that is not above 0, nor above untrained.")
        panels = [(f"{m}, {_seeds(len(r))}", np.mean([x.matrix for x in r], axis=0)) for m, r in methods.items()]
        name = f"heatmaps{'' if len(groups) == 1 else f'_{i + 1}'}.png"
        write_atomically(out / name, heat_map(panels, first.tasks))
        print(f"Picture: {out / name}")
    unfinished = find_unfinished(folders)
    if unfinished:
        print(f"Not finished, and left out: {', '.join(map(str, unfinished))}")
    write_csv(out / "table.csv", rows)
    write_atomically(out / "table.md", _markdown(rows).encode())
    return rows


def _by_method(results: list[Result]) -> dict[str, list[Result]]:
    """Runs by method and, where a method was run with several options, by those that differ; the last of equal runs."""
    common: dict[str, set[str]] = {}
    for result in results:
        own = set(_options(result.config))
        common[result.config.method] = common.get(result.config.method, own) & own
    found: dict[str, dict[int, Result]] = defaultdict(dict)
    for result in results:
        config = result.config
        label = " ".join([config.method, *(o for o in _options(config) if o not in common[config.method])])
        if config.seed in found[label]:
            print(f"{label} was run twice with seed {config.seed}; the last of them by name is shown.")
        found[label][config.seed] = result
    return {label: list(by_seed.values()) for label, by_seed in found.items()}


def _options(config: ContinualConfig) -> list[str]:
    return [f"{name}:{value}" for name, value in (config.arguments | config.policy_kwargs).items()]


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
    return to_markdown(names, ([cell(row, name) for name in names] for row in rows), left=1)


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
