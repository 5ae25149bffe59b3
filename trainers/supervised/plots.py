"""All figures of a supervised run, from what its folder holds: `python -m trainers.supervised plot RUN`."""

import base64
import csv
import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure

from trainers.checkpoint import write_atomically
from trainers.plots import to_png


class Run:
    """What a run's folder holds. ValueError when it has no epochs yet."""

    def __init__(self, folder: Path) -> None:
        files = {int(path.stem.split("_")[1]): path for path in sorted((folder / "epochs").glob("epoch_*.npz"))}
        if not (folder / "metrics.csv").is_file() or not [e for e in files if e]:
            raise ValueError(f"'{folder}' is not the folder of a supervised run with a finished epoch.")
        self.name = folder.name
        with open(folder / "metrics.csv") as file:
            rows = list(csv.DictReader(file))
        self.metrics = {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}
        self.numbers = sorted(e for e in files if e)
        self.files = files
        config = yaml.safe_load((folder / "config.yml").read_text())["config"]
        # Of a network that gives out velocities as changes of a position, the positions are what can be seen.
        self.summed = bool(config["model_kwargs"].get("differentiate"))

    def epoch(self, number: int) -> Any:
        """Arrays of an epoch."""
        return np.load(self.files[number])

    def movement(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets and outputs (T, 2) of the first kept sample, or their sums."""
        kept = self.epoch(number)
        expected, outputs = kept["expected"][:, 0], kept["outputs"][:, 0]
        return (expected.cumsum(axis=0), outputs.cumsum(axis=0)) if self.summed else (expected, outputs)

    @property
    def labels(self) -> list[str]:
        """What the two outputs are called."""
        return [f"{'sum of the ' if self.summed else ''}{which} output" for which in ("first", "second")]

    @property
    def stages(self) -> dict[str, int]:
        """Epochs at the beginning, in the middle and at the end."""
        n = self.numbers
        return {"beginning": n[0], "middle": n[len(n) // 2], "end": n[-1]}

    @property
    def matrices(self) -> list[str]:
        """Names of the matrices of weights."""
        return [name.removesuffix("_weights") for name in self.epoch(self.numbers[-1]).files if name.endswith("_weights")]


def learning(run: Run) -> Figure:
    """Error and score of training and validation, and spikes per neuron and step, over epochs."""
    score = next(n.removeprefix("validation/") for n in run.metrics if n in ("validation/loss", "validation/accuracy"))
    figure, axes = _figure(1, 3, (11, 3.2))
    for a, (title, names) in zip(
        axes[0],
        {"error": ("train/error", "validation/error"), score: (f"train/{score}", f"validation/{score}"),
         "spikes per neuron and step": ("spike/rate", "validation/rate")}.items(), strict=True,
    ):  # fmt: skip
        for name, label in zip(names, ("train", "validation"), strict=True):
            a.plot(run.metrics["time/epoch"], run.metrics[name], label=label, marker="." if len(run.numbers) < 30 else None)
        a.set(title=title, xlabel="epoch")
        a.legend(frameon=False)
    return figure


def rasters(run: Run) -> Figure:
    """Spikes of the first kept sample in the first and the last epoch."""
    figure, axes = _figure(1, 2, (11, 4.2), sharey=True)
    for a, stage in zip(axes[0], ("beginning", "end"), strict=True):
        kept = run.epoch(run.stages[stage])
        steps, _, neurons = kept["spikes_shape"]
        spikes = np.unpackbits(kept["spikes"], axis=-1, count=int(neurons))[:, 0]
        time, neuron = np.nonzero(spikes)
        a.scatter(time, neuron, s=1.2, color="black", linewidths=0)
        a.set(title=f"epoch {run.stages[stage]}: {spikes.mean():.3f} spikes per neuron and step", xlabel="step")
        a.set(xlim=(0, steps), ylim=(0, neurons))
    axes[0, 0].set_ylabel("neuron")
    return figure


def components(run: Run) -> Figure:
    """Both outputs over time against their targets, at three stages, on the same movement."""
    figure, axes = _figure(2, 3, (11, 5), sharex=True)
    for column, (stage, number) in enumerate(run.stages.items()):
        expected, outputs = run.movement(number)
        for row in range(2):
            axes[row, column].plot(expected[:, row], color="black", label="target")
            axes[row, column].plot(outputs[:, row], color="tab:orange", linestyle="--", label="network")
        axes[0, column].set_title(f"{stage} (epoch {number})")
        axes[1, column].set_xlabel("step")
    for a, label in zip(axes[:, 0], run.labels, strict=True):
        a.set_ylabel(label)
    axes[0, 0].legend(frameon=False)
    return figure


def plane(run: Run) -> Figure:
    """The second output over the first against the target, at three stages, on the same movement."""
    figure, axes = _figure(1, 3, (11, 3.8), sharex=True, sharey=True)
    for a, (stage, number) in zip(axes[0], run.stages.items(), strict=True):
        expected, outputs = run.movement(number)
        a.plot(*expected.T, color="black", label="target")
        a.plot(*outputs.T, color="tab:orange", linestyle="--", label="network")
        a.set(title=f"{stage} (epoch {number})", xlabel=run.labels[0])
    axes[0, 0].set_ylabel(run.labels[1])
    axes[0, 0].legend(frameon=False)
    return figure


def weight_changes(run: Run) -> Figure:
    """Weights of the last epoch minus those before learning, as heat maps."""
    before, after = run.epoch(0), run.epoch(run.numbers[-1])
    return _heat_maps({name: after[f"{name}_weights"] - before[f"{name}_weights"] for name in run.matrices}, "change")


def gradients(run: Run) -> Figure:
    """Gradients of the last batch of the last epoch, as heat maps."""
    kept = run.epoch(run.numbers[-1])
    return _heat_maps({n: kept[f"{n}_gradients"] for n in run.matrices if f"{n}_gradients" in kept.files}, "gradient")


def change_violins(run: Run) -> Figure:
    """How far weights have moved: distributions of log(1 + |change|)."""
    before, after = run.epoch(0), run.epoch(run.numbers[-1])
    figure, axes = _figure(1, 1, (1.5 + 1.5 * len(run.matrices), 4))
    rng = np.random.default_rng(0)
    values = []
    for name in run.matrices:
        change = np.log1p(np.abs(after[f"{name}_weights"] - before[f"{name}_weights"])).ravel()
        values.append(rng.choice(change, 20_000, replace=False) if len(change) > 20_000 else change)
    axes[0, 0].violinplot(values, showmedians=True)
    axes[0, 0].set_xticks(range(1, len(values) + 1), [name.replace("_", "\n") for name in run.matrices], fontsize=7)
    axes[0, 0].set_ylabel("log(1 + |change|)")
    return figure


def gradient_norms(run: Run) -> Figure:
    """Norm of the gradient of each matrix, batch by batch."""
    figure, axes = _figure(1, 1, (8, 4))
    for name in run.matrices:
        parts = [run.epoch(number) for number in run.numbers]
        if f"{name}_gradient_norms" not in parts[0].files:
            continue
        norms = [part[f"{name}_gradient_norms"] for part in parts]
        x = np.concatenate([e - 1 + (np.arange(len(n)) + 1) / len(n) for e, n in zip(run.numbers, norms, strict=True)])
        axes[0, 0].plot(x, np.maximum(np.concatenate(norms), 1e-12), label=name, linewidth=1)
    axes[0, 0].set(xlabel="epoch", ylabel="norm of the gradient", yscale="log")
    axes[0, 0].legend(frameon=False, fontsize=8)
    return figure


def firing_rates(run: Run) -> Figure:
    """Distribution of the neurons' rates at three stages."""
    figure, axes = _figure(1, 1, (6, 4))
    rates = {stage: run.epoch(number)["firing_rates"] for stage, number in run.stages.items()}
    bins = np.linspace(0.0, max(float(r.max()) for r in rates.values()) + 1e-6, 40)
    for stage, r in rates.items():
        axes[0, 0].hist(
            r, bins, histtype="step", linewidth=1.5, label=f"{stage}: mean {r.mean():.3f}, {np.mean(r == 0):.0%} silent"
        )
    axes[0, 0].set(xlabel="spikes per step", ylabel="neurons")
    axes[0, 0].legend(frameon=False)
    return figure


def confusion(run: Run) -> Figure:
    """Validation samples of each class (row) by what they were taken for (column), in the last epoch."""
    kept = run.epoch(run.numbers[-1])
    labels, predicted = kept["labels"], kept["predicted"]
    size = int(max(labels.max(), predicted.max())) + 1
    table = np.zeros((size, size), int)
    np.add.at(table, (labels, predicted), 1)
    figure, axes = _figure(1, 1, (6, 5.2))
    image = axes[0, 0].imshow(table, cmap="Blues")
    axes[0, 0].set(xlabel="taken for", ylabel="class", title=f"accuracy {np.mean(labels == predicted):.1%}")
    axes[0, 0].set_xticks(range(0, size, 2))
    axes[0, 0].set_yticks(range(0, size, 2))
    axes[0, 0].grid(False)
    figure.colorbar(image, ax=axes[0, 0], label="samples")
    return figure


COMMON: dict[str, Callable[[Run], Figure]] = {
    "learning": learning,
    "rasters": rasters,
    "firing_rates": firing_rates,
    "weight_changes": weight_changes,
    "change_violins": change_violins,
    "gradients": gradients,
    "gradient_norms": gradient_norms,
}
MOVEMENTS: dict[str, Callable[[Run], Figure]] = {"components": components, "plane": plane}
CLASSES: dict[str, Callable[[Run], Figure]] = {"confusion": confusion}


def report(folder: Path) -> Path:
    """Draw every figure that fits the run as plots/NAME.png, and report.html that holds them all; its path."""
    run = Run(folder)
    special = CLASSES if "labels" in run.epoch(run.numbers[-1]).files else MOVEMENTS
    parts = []
    for name, draw in (special | COMMON).items():
        png = to_png(draw(run))
        write_atomically(folder / "plots" / f"{name}.png", png)
        picture = base64.b64encode(png).decode()
        text = html.escape((draw.__doc__ or "").strip())
        parts.append(f'<h2>{name.replace("_", " ")}</h2><p>{text}</p><img src="data:image/png;base64,{picture}" alt="{name}">')
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{run.name}</title>'
        "<style>body{font-family:sans-serif;max-width:70em;margin:2em auto}img{max-width:100%}</style>"
        f"<h1>{run.name}: {run.numbers[-1]} epochs</h1>{''.join(parts)}</html>"
    )
    write_atomically(folder / "report.html", page.encode())
    return folder / "report.html"


def _heat_maps(matrices: dict[str, np.ndarray], what: str) -> Figure:
    figure, axes = _figure(1, len(matrices), (1 + 3.6 * len(matrices), 3.6))
    for a, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
        limit = float(np.quantile(np.abs(matrix), 0.999)) or 1e-12
        image = a.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
        a.set(title=f"{name.replace('_', ' ')}: {what}", xlabel="from", ylabel="to")
        a.locator_params(integer=True)
        a.grid(False)
        figure.colorbar(image, ax=a)
    return figure


def _figure(rows: int, columns: int, size: tuple[float, float], **kwargs: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    for a in axes.flat:
        a.grid(alpha=0.25)
        a.spines[["top", "right"]].set_visible(False)
    return figure, axes
