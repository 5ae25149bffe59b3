"""What a finished run leaves, and reading it again."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from envs.continual.scenarios import load_scenario
from trainers.checkpoint import write_atomically
from trainers.continual.config import ContinualConfig, read_config
from trainers.continual.loop import ContinualRun
from trainers.continual.metrics import summary
from trainers.continual.plots import heat_map, training_curve
from trainers.tables import write_csv


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished run.

    :param tasks: names in their order
    :param matrix: performance of every task before the first (row 0) and after each, (T + 1, T)
    :param areas: mean success while each task was learned (T,), None where environments do not tell
    :param budget: steps of each task
    :param published: steps of each task as the scenario has them
    :param steps: environment steps by what they were for
    """

    config: ContinualConfig
    scenario: str
    metric: str
    tasks: tuple[str, ...]
    matrix: np.ndarray
    areas: tuple[float, ...] | None
    budget: int
    published: int
    inference_size: int
    train_size: int
    actor_size: int
    steps: dict[str, int]


def finish(run: ContinualRun) -> None:
    """Write evaluations.csv, curve.csv, result.json, heatmap.png and curve.png, and print the summary."""
    write_csv(run.folder / "evaluations.csv", run.evaluations)
    write_csv(run.folder / "curve.csv", run.curve)
    size = run.method.size()
    told: dict[str, Any] = {
        "scenario": run.scenario.name,
        "metric": run.metric,
        "tasks": [task.name for task in run.scenario.tasks],
        "budget": run.budget,
        "published": load_scenario(run.config.scenario).n_timesteps,
        "inference_size": size.inference,
        "train_size": size.train,
        "actor_size": sum(p.numel() for p in run.method.make_actor().parameters()),
        "steps": run.steps,
    }
    write_atomically(run.folder / "result.json", json.dumps(told, indent=1).encode())
    matrix = run.matrix()
    title = f"{run.config.method} on {run.scenario.name}, {run.metric}"
    write_atomically(run.folder / "heatmap.png", heat_map([(title, matrix)], told["tasks"]))
    if run.curve:  # else no episode has ended
        write_atomically(run.folder / "curve.png", training_curve(run.curve, told["tasks"], run.budget, run.metric))
    print(", ".join(f"{name} {value:.3g}" for name, value in summary(matrix[1:]).items())
          + f"; {size.inference:,} numbers to act, {size.train:,} to learn on; environment steps: "
          + ", ".join(f"{value:,} {name}" for name, value in run.steps.items()))  # fmt: skip
    print(f"Picture: {run.folder / 'heatmap.png'}. See it: python -m trainers.continual play {run.folder}. "
          f"Compare methods: python -m trainers.continual report {run.folder.parent}")  # fmt: skip


def find_results(folders: list[Path]) -> list[Path]:
    """Folders of finished runs among and beneath these; ValueError for one that holds none, and for none at all."""
    if not folders:
        raise ValueError("Give at least one folder of runs, such as runs/continual.")
    found: dict[Path, None] = {}
    for folder in folders:
        runs = [path.parent for path in sorted(folder.rglob("result.json"))]
        if not runs:
            raise ValueError(f"'{folder}' holds no finished run of `python -m trainers.continual`.")
        found |= dict.fromkeys(runs)
    return list(found)


def find_unfinished(folders: list[Path]) -> list[Path]:
    """Folders of runs among and beneath these that were begun and are not finished."""
    begun = (path.parent for folder in folders for path in sorted(folder.rglob("config.yml")))
    return [folder for folder in begun if not (folder / "result.json").is_file()]


def read_result(folder: Path) -> Result:
    """What `finish` wrote."""
    told: dict[str, Any] = json.loads((folder / "result.json").read_text())
    count = len(told["tasks"])
    with open(folder / "evaluations.csv") as file:
        values = [float(row[told["metric"]] or "nan") for row in csv.DictReader(file)]
    with open(folder / "curve.csv") as file:
        solved = [(int(row["task"]), row.get("success")) for row in csv.DictReader(file)]
    areas = None
    if solved and all(success for _, success in solved):
        areas = tuple(float(np.mean([float(s or 0) for task, s in solved if task == i])) for i in range(count))
    matrix = np.array(values).reshape(-1, count)
    return Result(read_config(folder), tasks=tuple(told.pop("tasks")), matrix=matrix, areas=areas, **told)
