"""Pictures of runs."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainers.checkpoint import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curve(history: list[dict[str, float]], path: Path, title: str) -> None:
    """Return of the sampled members (mean and spread) and of the deployed network over environment steps, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=140, layout="constrained")
    axes = figure.subplots()

    def column(name: str) -> np.ndarray:
        return np.array([row.get(name, np.nan) for row in history], float)

    steps = column("time/total_timesteps")
    mean, std = column("rollout/ep_rew_mean"), column("rollout/return_std")
    axes.fill_between(steps, mean - std, mean + std, color="tab:blue", alpha=0.15, linewidth=0, label="spread (1 s.d.)")
    axes.plot(steps, mean, color="tab:blue", linewidth=1.4, label="sampled members")
    deployed = column("eval/mean_reward")
    shown = np.isfinite(deployed)
    if shown.any():
        axes.plot(steps[shown], deployed[shown], color="tab:orange", linewidth=1.4, label="deployed network")
    axes.set(title=title, xlabel="environment steps", ylabel="return")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    write_atomically(path, to_png(figure))


def to_png(figure: "Figure") -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
