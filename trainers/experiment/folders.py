"""What a run's folder tells of it."""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import yaml

REWARDS = ("eval/mean_reward", "rollout/ep_rew_mean")
"""Columns of a run's return: of the deployed network, or, without evaluations, of the sampled members."""


class Progress(NamedTuple):
    """How far a run has come; a run that learns from a dataset counts rows of metrics and gradient steps.

    :param reward: the last that is known
    :param fps: environment steps a second in the last generation
    :param seconds: of all generations
    :param fraction: of the run, in [0, 1]
    """

    generation: int
    steps: int
    reward: float | None
    fps: float
    seconds: float
    fraction: float

    @property
    def seconds_left(self) -> float:
        return self.seconds * (1 - self.fraction) / self.fraction if self.fraction > 0 else float("inf")


def begun(folder: Path) -> bool:
    """Whether there is a run that can be resumed."""
    return (folder / "config.yml").is_file()


def finished(folder: Path) -> bool:
    """Whether the run has reached its end and written its last model."""
    progress = read_progress(folder)
    return progress is not None and progress.fraction >= 1 and (folder / "model.zip").is_file()


def read_progress(folder: Path) -> Progress | None:
    """None before the first generation."""
    rows = read_metrics(folder)
    if not rows or not begun(folder):
        return None
    config = read_config(folder)["config"]
    last = rows[-1]
    steps = int(last["time/total_timesteps"])
    if "gradient_steps" in config:
        generation, fraction = len(rows), steps / config["gradient_steps"]
    else:
        generation = int(last["time/iterations"])
        fraction = generation / config["generations"]
        if config["n_timesteps"] is not None:
            fraction = max(fraction, steps / config["n_timesteps"])
    rewards = [float(row[name]) for row in rows for name in REWARDS[:1] if row.get(name)] or [
        float(row[name]) for row in rows for name in REWARDS[1:] if row.get(name)
    ]
    seconds = sum(float(row["time/seconds"]) for row in rows)
    reward = rewards[-1] if rewards else None
    return Progress(generation, steps, reward, float(last["time/fps"]), seconds, min(1.0, fraction))


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv, one a generation; [] before the first."""
    path = folder / "metrics.csv"
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def read_config(folder: Path) -> dict[str, Any]:
    """config.yml: algorithm, config and versions."""
    data = yaml.safe_load((folder / "config.yml").read_text())
    if not isinstance(data, dict) or not {"algorithm", "config"} <= set(data):
        raise ValueError(f"'{folder}' is not a run folder: its config.yml names no algorithm.")
    return data
