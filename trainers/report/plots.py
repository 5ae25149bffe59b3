"""Pictures that compare runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainers.report.aggregate import Estimate, Statistic, estimate
from trainers.report.curves import Group, resample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOUR = 3600.0


def plot_curves(groups: dict[str, Group], statistic: Statistic, name: str, confidence: float, ylabel: str) -> "Figure":
    """A row of each environment: returns over environment steps and over time, with a band where there are seeds."""
    from matplotlib.ticker import EngFormatter

    figure, axes = _figure(len(groups), 2, 3.0)
    colours = _colours(groups)
    for (env, group), (over_steps, over_time) in zip(groups.items(), axes, strict=True):
        for label, runs in group.items():
            for axis, kind, unit in ((over_steps, "steps", 1.0), (over_time, "seconds", _unit(group))):
                x, returns = resample(runs, kind)
                line = estimate(returns, statistic, confidence)
                axis.plot(x / unit, line.value, color=colours[label], linewidth=1.5)
                if len(runs) > 1:
                    axis.fill_between(x / unit, line.low, line.high, color=colours[label], alpha=0.18, linewidth=0)
        offline = all(run.options["algorithm"] == "offline" for runs in group.values() for run in runs)
        over_steps.set(xlabel="gradient steps" if offline else "environment steps", ylabel=ylabel)
        over_steps.xaxis.set_major_formatter(EngFormatter(sep=""))
        over_steps.set_title(env, loc="left", fontsize=10)
        for axis in (over_steps, over_time):
            axis.set_xlim(left=0)
        over_time.set(xlabel="hours" if _unit(group) == HOUR else "seconds")
    figure.align_ylabels(axes[:, 0])
    _legend(figure, groups, colours, f"{name} and {confidence:.0%} interval over (seeds); one seed has no interval")
    return figure


def plot_finals(
    groups: dict[str, Group], finals: dict[str, dict[str, np.ndarray]], estimates: dict[str, dict[str, Estimate]], xlabel: str
) -> "Figure":
    """A panel of each environment: what every seed reached (dots), the statistic (bar) and its interval."""
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    labels = list(dict.fromkeys(label for group in groups.values() for label in group))
    figure, axes = _figure(rows, columns, 0.8 + 0.4 * len(labels))
    colours = _colours(groups)
    for axis, env in zip(axes.flat, groups, strict=False):
        for label in groups[env]:
            y, colour = -labels.index(label), colours[label]
            estimated = estimates[env][label]
            if np.isfinite(estimated.low):
                axis.plot(
                    [estimated.low, estimated.high], [y, y], color=colour, linewidth=9, alpha=0.25, solid_capstyle="butt"
                )
            axis.plot([estimated.value], [y], color=colour, marker="|", markersize=13, markeredgewidth=2.5)
            axis.plot(finals[env][label], np.full(len(finals[env][label]), y), "o", color=colour, markersize=3.5, alpha=0.8)
        axis.set_yticks([-i for i in range(len(labels))], labels)
        axis.set_ylim(-len(labels) + 0.4, 0.6)
        axis.set_title(env, loc="left", fontsize=10)
        axis.set_xlabel(xlabel)
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    return figure


def _figure(rows: int, columns: int, height: float) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * columns + 0.4, height * rows + 0.8), dpi=140, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    return figure, axes


def _colours(groups: dict[str, Group]) -> dict[str, str]:
    """One for each label, the same in every environment."""
    labels = dict.fromkeys(label for group in groups.values() for label in group)
    return {label: f"C{i % 10}" for i, label in enumerate(labels)}


def _unit(group: Group) -> float:
    """Hours for runs that take some, else seconds."""
    longest = max(run.seconds[-1] for runs in group.values() for run in runs)
    return HOUR if longest > HOUR else 1.0


def _legend(figure: "Figure", groups: dict[str, Group], colours: dict[str, str], title: str) -> None:
    from matplotlib.lines import Line2D

    counts = {label: sorted({len(group[label]) for group in groups.values() if label in group}) for label in colours}
    texts = {label: f"{label} ({_range(counts[label])})" for label in colours}
    handles = [Line2D([], [], color=colours[label], linewidth=2, label=text) for label, text in texts.items()]
    columns = max(1, min(len(handles), 110 // (max(map(len, texts.values())) + 6)))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, title=title, title_fontsize=8, fontsize=8
    )


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
