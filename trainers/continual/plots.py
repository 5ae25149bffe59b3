"""Pictures of continual learning."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainers.plots import to_png


def heat_map(panels: Sequence[tuple[str, np.ndarray]], names: Sequence[str]) -> bytes:
    """Performance of every task (columns) before the first and after each task (rows), as a PNG, all panels in the same
    colours; framed where the row's task is the column's.

    :param panels: title and values (T + 1, T) of each
    :param names: of the tasks (T,)
    """
    from matplotlib.figure import Figure

    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    size = (1.9 + columns * (0.9 + 0.52 * len(names)), rows * (1.3 + 0.32 * (len(names) + 1)))
    figure = Figure(figsize=size, dpi=140, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    every = np.concatenate([values.ravel() for _, values in panels])
    low, high = float(np.nanmin(every)), float(np.nanmax(every))
    digits = 2 if max(abs(low), abs(high)) < 10 else 0
    if low == high:
        low, high = low - 0.5, high + 0.5
    for axes, (title, values) in zip(grid.flat, panels, strict=False):
        image = axes.imshow(values, aspect="auto", cmap="viridis", vmin=low, vmax=high)
        _write_numbers(axes, values, (low + high) / 2, digits)
        axes.set_title(title, loc="left", fontsize=9)
        axes.set_xticks(range(len(names)), [f"{i + 1} {name}" for i, name in enumerate(names)], rotation=40, ha="right")
        axes.set_yticks(range(len(values)), ["before", *(f"after {i + 1}" for i in range(len(values) - 1))])
        axes.tick_params(labelsize=7, labelbottom=True)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    figure.colorbar(image, ax=grid, fraction=0.03, pad=0.01).ax.tick_params(labelsize=7)
    return to_png(figure)


def training_curve(curve: Sequence[dict[str, Any]], names: Sequence[str], budget: int, metric: str) -> bytes:
    """What was earned while learning, task after task, as a PNG.

    :param curve: rows with "task", "steps" since the first task's start, and the metric
    :param names: of the tasks (T,)
    :param budget: steps of each task
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.0, 1.3 * len(names)), 3.6), dpi=140, layout="constrained")
    axes = figure.subplots()
    for i, name in enumerate(names):
        rows = [row for row in curve if row["task"] == i and metric in row]
        axes.plot([row["steps"] for row in rows], [row[metric] for row in rows], color="tab:blue", lw=1.2, marker=".", ms=4)
        axes.axvline(i * budget, color="gray", lw=0.8, ls=":")
        axes.text((i + 0.5) * budget, 1.02, f"{i + 1} {name}", transform=axes.get_xaxis_transform(), ha="center", fontsize=8)
    axes.set(xlabel="environment steps", ylabel=f"{metric} in training", xlim=(0, len(names) * budget))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return to_png(figure)


def _write_numbers(axes: Any, values: np.ndarray, middle: float, digits: int) -> None:
    from matplotlib.patches import Rectangle

    for i, row in enumerate(values):
        for j, value in enumerate(row):
            color = "black" if value > middle else "white"
            axes.text(j, i, f"{value:.{digits}f}", ha="center", va="center", fontsize=6.5, color=color)
    for task in range(len(values) - 1):
        axes.add_patch(Rectangle((task - 0.5, task + 0.5), 1, 1, fill=False, edgecolor="red", linewidth=1.2, clip_on=False))
