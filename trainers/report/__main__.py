"""`python -m trainers.report runs/ec_brax runs/rnn_brax`: learning curves and a table over seeds."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.markup import escape
from rich.table import Table

from policies.names import choose
from trainers.checkpoint import write_atomically
from trainers.experiment.folders import REWARDS
from trainers.plots import to_png
from trainers.report.aggregate import STATISTICS, Estimate, estimate, estimate_over_tasks
from trainers.report.curves import Curve, Group, find_runs, group, read_curve
from trainers.report.plots import plot_curves, plot_finals
from trainers.tables import Row, to_markdown, wide_console, write_csv

FINALS = {"last": lambda curve: curve.returns[-1], "best": lambda curve: curve.returns.max()}
ALL = "all, scaled"


@dataclass
class ReportConfig:
    """Compare runs: learning curves over environment steps and over time, and a table of what they reached.

    Runs of an experiment are grouped by its labels, others by algorithm, network and the settings in which they differ. The
    table has interquartile mean, mean and median over seeds with intervals from the bootstrap; of several environments also
    over all of them, scaled so that 0 is the mean first evaluation and 1 the best return of any run in the table."""

    folders: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Folders of runs, of experiments, or of anything that holds runs."""
    out: str | None = None
    """Where table and pictures are written (default: report/ in the first folder)."""
    metric: str = REWARDS[0]
    """Column of metrics.csv: the return of the deployed network, or another."""
    final: str = "last"
    """What a run has reached: its last evaluation, or its best one, which flatters noisy runs."""
    statistic: str = "iqm"
    """Of the curves: iqm, mean or median over seeds."""
    confidence: float = 0.95
    """Of the intervals."""
    budget: float | None = None
    """Look at no more than this many environment steps of every run."""


def main(args: list[str] | None = None) -> None:
    """Print the table and write it with the pictures; exit code 2 and one sentence when something given is wrong."""
    config = tyro.cli(ReportConfig, args=args, prog="python -m trainers.report")
    try:
        report(config)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def report(config: ReportConfig) -> Path:
    """The folder of the report."""
    final_of = choose("final", config.final, FINALS)
    statistic = choose("statistic", config.statistic, STATISTICS)
    if not 0 < config.confidence < 1:
        raise ValueError(f"confidence={config.confidence} must lie between 0 and 1.")
    groups = group(_read(config))
    finals = {
        env: {label: np.array([final_of(run) for run in runs]) for label, runs in labels.items()}
        for env, labels in groups.items()
    }
    rows = [
        _row(env, label, runs, finals[env][label], config) for env, labels in groups.items() for label, runs in labels.items()
    ]
    rows += _overall(groups, finals, config)
    name = config.statistic.upper() if config.statistic == "iqm" else config.statistic
    returns = "return" if config.metric in REWARDS else config.metric
    estimates = {
        env: {label: estimate(values, statistic, config.confidence) for label, values in labels.items()}
        for env, labels in finals.items()
    }
    figures = {
        "curves": plot_curves(groups, statistic, name, config.confidence, returns),
        "finals": plot_finals(groups, finals, estimates, f"{returns}, {config.final} evaluation: {name}, interval, seeds"),
    }
    title = f"{config.metric}, {config.final} evaluation, {config.confidence:.0%} intervals over seeds"
    _print(rows, title)
    out = Path(config.out) if config.out else Path(config.folders[0]) / "report"
    write_csv(out / "table.csv", rows)
    write_atomically(out / "table.md", _markdown(rows, title).encode())
    for stem, figure in figures.items():
        write_atomically(out / f"{stem}.png", to_png(figure))
    print(f"Table and pictures: {out}")
    return out


def _read(config: ReportConfig) -> list[Curve]:
    curves = []
    for folder in find_runs(map(Path, config.folders)):
        curve = read_curve(folder, config.metric)
        if curve is None:
            print(f"{folder} has no evaluation yet; it is left out.")
            continue
        curves.append(curve if config.budget is None else curve.until(config.budget))
    if not curves:
        raise ValueError("None of the runs has an evaluation yet.")
    return curves


def _row(env: str, label: str, runs: list[Curve], values: np.ndarray, config: ReportConfig) -> Row:
    row: Row = {"environment": env, "label": label, "seeds": len(runs), "unfinished": sum(not run.finished for run in runs)}
    for name, statistic in STATISTICS.items():
        row |= _cells(name, estimate(values, statistic, config.confidence))
    row["env_steps"] = float(np.mean([run.steps[-1] for run in runs]))
    row["hours"] = float(np.mean([run.seconds[-1] for run in runs])) / 3600
    return row


def _overall(groups: dict[str, Group], finals: dict[str, dict[str, np.ndarray]], config: ReportConfig) -> list[Row]:
    """Rows over all environments, of the labels that are in all of them."""
    if len(groups) < 2:
        return []
    scaled: dict[str, dict[str, np.ndarray]] = {}
    for env, labels in groups.items():
        start = np.mean([run.returns[0] for runs in labels.values() for run in runs])
        best = max(values.max() for values in finals[env].values())
        if best <= start:
            print(f"No run improved on {env}, so that the environments share no scale: there is no row over all of them.")
            return []
        scaled[env] = {label: (values - start) / (best - start) for label, values in finals[env].items()}
    rows = []
    for label in next(iter(groups.values())):
        if not all(label in labels for labels in groups.values()):
            continue
        scores = [scaled[env][label] for env in groups]
        row: Row = {"environment": ALL, "label": label, "seeds": min(map(len, scores))}
        for name, statistic in STATISTICS.items():
            row |= _cells(name, estimate_over_tasks(scores, statistic, config.confidence))
        rows.append(row)
    return rows


def _cells(name: str, estimated: Estimate) -> Row:
    return {name: float(estimated.value), f"{name}_low": float(estimated.low), f"{name}_high": float(estimated.high)}


def _texts(row: Row) -> list[str]:
    """Cells of a row as they are read; steps are those of the environment, of offline runs gradient steps."""

    def number(value: float) -> str:
        return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}"

    texts = [row["environment"], row["label"], str(row["seeds"])]
    if row.get("unfinished"):
        texts[2] += f" ({row['unfinished']} unfinished)"
    for name in STATISTICS:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        interval = "" if np.isnan(low) else f" [{number(low)}, {number(high)}]"
        texts.append(number(row[name]) + interval)
    return [*texts, f"{row['env_steps']:.3g}" if "env_steps" in row else "", f"{row['hours']:.2f}" if "hours" in row else ""]


HEADINGS = ("environment", "label", "seeds", "IQM", "mean", "median", "steps", "hours")


def _markdown(rows: list[Row], title: str) -> str:
    return f"{title}\n\n{to_markdown(HEADINGS, map(_texts, rows), left=2)}{_note(rows)}"


def _note(rows: list[Row]) -> str:
    return "\nOne seed has no interval.\n" if any(row["seeds"] == 1 for row in rows) else ""


def _print(rows: list[Row], title: str) -> None:
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for i, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if i < 2 else "right", no_wrap=i < 2)
    for row in rows:
        table.add_row(*map(escape, _texts(row)))
    wide_console().print(table)
    if note := _note(rows).strip():
        print(note)


if __name__ == "__main__":
    main()
