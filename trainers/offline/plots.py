"""Returns of an offline run beside those of the policy that filled its dataset."""

from pathlib import Path
from typing import Any

import numpy as np

from trainers.checkpoint import write_atomically
from trainers.plots import to_png


def learning_curve(history: list[dict[str, float]], metadata: dict[str, Any], path: Path, title: str) -> None:
    """Mean and spread of the evaluations' episodes over gradient steps, as a PNG; broken lines for the references that the
    dataset knows."""
    from matplotlib.figure import Figure

    rows = [row for row in history if "eval/mean_reward" in row]
    steps, mean, std = (
        np.array([row[name] for row in rows]) for name in ("time/total_timesteps", "eval/mean_reward", "eval/std_reward")
    )
    figure = Figure(figsize=(7, 4.2), dpi=140, layout="constrained")
    axes = figure.subplots()
    axes.fill_between(steps, mean - std, mean + std, color="tab:orange", alpha=0.15, linewidth=0, label="spread (1 s.d.)")
    axes.plot(steps, mean, color="tab:orange", linewidth=1.4, label="learned policy")
    for name, color, label in (("behavior_return", "tab:blue", "behaviour"), ("random_return", "tab:gray", "random")):
        if metadata.get(name) is not None:
            axes.axhline(metadata[name], color=color, linestyle="--", linewidth=1.0, label=label)
    axes.set(title=title, xlabel="gradient steps", ylabel="return")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    write_atomically(path, to_png(figure))
