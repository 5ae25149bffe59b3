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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    size = (1.9 + columns * (0.9 + 0.52 * len(names)), rows * (1.3 + 0.32 * (len(names) + 1)))
    figure = Figure(figsize=size, dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    every = np.concatenate([values.ravel() for _, values in panels])
    low, high = float(np.nanmin(every)), float(np.nanmax(every))
    for axes, (title, values) in zip(grid.flat, panels, strict=False):
        image = axes.imshow(values, aspect="auto", cmap="viridis", vmin=low, vmax=high)
        _write_numbers(axes, values, (low + high) / 2)
        axes.set_title(title, loc="left", fontsize=9)
        axes.set_xticks(range(len(names)), [f"{i + 1} {name}" for i, name in enumerate(names)], rotation=40, ha="right")
        axes.set_yticks(range(len(values)), ["before", *(f"after {i + 1}" for i in range(len(values) - 1))])
        axes.tick_params(labelsize=7, labelbottom=True)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    figure.colorbar(image, ax=grid, fraction=0.03, pad=0.01).ax.tick_params(labelsize=7)
    return to_png(figure)


def _write_numbers(axes: Any, values: np.ndarray, middle: float) -> None:
    from matplotlib.patches import Rectangle

    for i, row in enumerate(values):
        for j, value in enumerate(row):
            text = f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=6.5, color="black" if value > middle else "white")
    for task in range(len(values) - 1):
        axes.add_patch(Rectangle((task - 0.5, task + 0.5), 1, 1, fill=False, edgecolor="red", linewidth=1.2))
