"""Learning curves of runs, grouped by environment and by what was learned there."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from policies.names import nearest
from trainers.config import CONFIGS
from trainers.experiment.folders import REWARDS, finished, read_config, read_metrics

INDIFFERENT = {
    *("seed", "generations", "n_timesteps", "gradient_steps", "save_every"),
    *("resume", "folder", "log_folder", "track", "progress"),
    *("n_envs", "vec_env", "chunk_steps", "eval_every", "eval_episodes"),
}
"""Options in which runs of one label may differ."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """Evaluations of a run.

    :param label: of its algorithm and settings
    :param steps: of the environment, or of the optimiser for a run that learns from a dataset, at each evaluation (n,)
    :param seconds: of computing until then (n,)
    :param returns: (n,)
    :param options: its algorithm and config
    """

    folder: Path
    env: str
    label: str
    seed: int
    steps: np.ndarray
    seconds: np.ndarray
    returns: np.ndarray
    finished: bool
    options: dict[str, Any]

    def until(self, steps: float) -> "Curve":
        """What it had reached after so many environment steps."""
        kept = self.steps <= steps
        if not kept.any():
            raise ValueError(f"'{self.folder}' has no evaluation within {steps:,.0f} environment steps.")
        return dataclasses.replace(self, **{name: getattr(self, name)[kept] for name in ("steps", "seconds", "returns")})


Group = dict[str, list[Curve]]
"""Label -> the runs of its seeds."""


def find_runs(folders: Iterable[Path]) -> list[Path]:
    """Folders of runs among and beneath these; ValueError for one that holds none."""
    found: dict[Path, None] = {}
    for folder in folders:
        runs = [path.parent for path in sorted(folder.rglob("config.yml")) if _is_run(path)]
        if not runs:
            raise ValueError(f"'{folder}' holds no run: there is no config.yml of one in it or beneath it.")
        found |= dict.fromkeys(runs)
    return list(found)


def read_curve(folder: Path, metric: str) -> Curve | None:
    """The curve of a column of metrics.csv, without the rows where it is missing or not finite; None before the first."""
    rows = read_metrics(folder)
    if not rows:
        return None
    if metric not in rows[0]:
        hint = f" It was not evaluated; use {REWARDS[1]}." if metric == REWARDS[0] else f" {nearest(metric, rows[0])}"
        raise ValueError(f"'{folder}' has no metric '{metric}'.{hint}")
    seconds = np.cumsum([float(row["time/seconds"]) for row in rows])
    steps = np.array([float(row["time/total_timesteps"]) for row in rows])
    returns = np.array([float(row[metric] or "nan") for row in rows])
    kept = np.isfinite(returns)
    if not kept.any():
        return None
    data = read_config(folder)
    config = data["config"]
    settings = _defaults(data["algorithm"]) | config
    options = {"algorithm": data["algorithm"]} | {k: v for k, v in settings.items() if k not in INDIFFERENT}
    return Curve(
        folder, config["env"], _label(folder, data), config["seed"], steps[kept], seconds[kept], returns[kept],
        finished(folder), options,
    )  # fmt: skip


def group(curves: Sequence[Curve]) -> dict[str, Group]:
    """Environment -> label -> runs. Runs of one label that have other settings get them added to their labels; ValueError
    when one seed is there twice."""
    groups: dict[str, Group] = defaultdict(lambda: defaultdict(list))
    for curve in curves:
        alike = [c for c in curves if (c.env, c.label) == (curve.env, curve.label)]
        groups[curve.env][_full_label(curve, alike)].append(curve)
    for env, labels in groups.items():
        for label, runs in labels.items():
            seeds: dict[int, Curve] = {}
            for run in runs:
                if run.seed in seeds:
                    twin = seeds[run.seed].folder
                    raise ValueError(
                        f"'{twin}' and '{run.folder}' are both {label} on {env} with seed {run.seed}; leave one out."
                    )
                seeds[run.seed] = run
    return {env: dict(labels) for env, labels in groups.items()}


def resample(runs: Sequence[Curve], axis: str, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Points on an axis, "steps" or "seconds", from the first that all runs reach on, and the returns of each, (runs, points).

    On steps up to the last that all reach. On seconds up to the slowest run's last: one that is done by then keeps its last
    return, since compiling may make it as late with its first as a faster one is with its last.
    """
    axes = [getattr(run, axis) for run in runs]
    first, ends = max(a[0] for a in axes), [a[-1] for a in axes]
    x = np.linspace(first, max(first, min(ends)) if axis == "steps" else max(ends), points)
    return x, np.stack([np.interp(x, a, run.returns) for a, run in zip(axes, runs, strict=True)])


def _is_run(path: Path) -> bool:
    data = yaml.safe_load(path.read_text())
    return isinstance(data, dict) and {"algorithm", "config"} <= set(data)


def _defaults(algorithm: str) -> dict[str, Any]:
    """Options that a run from before they existed does not name."""
    return dataclasses.asdict(CONFIGS[algorithm]()) if algorithm in CONFIGS else {}


def _label(folder: Path, data: dict[str, Any]) -> str:
    """As its experiment calls it, or algorithm and network, or mode."""
    for root in folder.resolve().parents:
        if (root / "experiment.yml").is_file():
            return folder.resolve().relative_to(root).parts[0]
    if "mode" in data["config"]:
        return str(data["config"]["mode"])
    return f"{data['algorithm'].upper()} {data['config']['policy'].removesuffix('Policy')}"


def _full_label(curve: Curve, alike: Sequence[Curve]) -> str:
    names = dict.fromkeys(name for c in alike for name in c.options)
    apart = [name for name in names if len({repr(c.options.get(name)) for c in alike}) > 1]
    return " ".join([curve.label, *(f"{name}={curve.options.get(name)}" for name in apart)])
