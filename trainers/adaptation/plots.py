"""Pictures of adaptation: rewards and distance against time, and the paths of plastic weights.

Every function gives a matplotlib Figure. Bands are one standard deviation over episodes.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from trainers.adaptation.episodes import Trace
from trainers.adaptation.measures import moving_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = [f"tab:{name}" for name in ("blue", "orange", "green", "red", "purple", "brown", "pink", "olive", "cyan", "gray")]
LINES = ("-", "--", ":", "-.")
MARKS: dict[str, dict[str, Any]] = {
    "start": {"linestyle": "", "marker": "o", "color": "0.1", "markersize": 6, "markerfacecolor": "white"},
    "event": {"linestyle": "", "marker": "X", "color": "tab:red", "markersize": 7, "markeredgecolor": "white"},
    "end": {"linestyle": "", "marker": "s", "color": "0.1", "markersize": 6, "markeredgecolor": "white"},
}


def plot_event(
    traces: dict[str, Trace], undisturbed: dict[str, Trace], at: int, steps: int, window: int, title: str
) -> "Figure":
    """Reward rate and distance (or return so far) of every policy, with the moment marked; undisturbed episodes from the
    same starts dashed.

    :param traces: of the policies that the event concerns
    :param undisturbed: of all, in the order of their colours
    :param at: the first step of the event
    :param steps: how many steps it lasts; 1: it is a line
    :param window: steps of the moving mean
    """
    figure, axes = _figure(1, 2, (9.0, 5.6), title)
    upper, lower = axes[:, 0]
    for colour, (policy, control) in zip(_colours(len(undisturbed)), undisturbed.items(), strict=True):
        if policy not in traces:
            continue
        trace = traces[policy]
        for axis, curve in ((upper, lambda t: rate(t, window)), (lower, progress)):
            axis.plot(curve(control).mean(0), color=colour, linestyle="--", linewidth=0.9, alpha=0.8)
            _band(axis, curve(trace), colour, policy)
    for axis in (upper, lower):
        if steps > 1:
            axis.axvspan(at, at + steps, color="0.3", alpha=0.15, linewidth=0)
        axis.axvline(at, color="0.3", linewidth=1.0)
    upper.annotate(f" step {at}", (at, 1.0), xycoords=("data", "axes fraction"), va="top", fontsize=8, color="0.3")
    upper.set_ylabel(f"reward per step\n(mean of {window} steps)")
    lower.set_ylabel(_progress_label(traces))
    lower.set_xlabel("step of the episode")
    _legend(figure, upper, [("--", "undisturbed")], len(next(iter(traces.values())).returns))
    return figure


def plot_variants(played: dict[str, dict[str, Trace]], notes: dict[str, str], title: str) -> "Figure":
    """Distance (or return so far) of every policy, a panel for each environment.

    :param played: environment -> policy -> episodes
    :param notes: environment -> what is said about it
    """
    columns, rows = _grid(len(played))
    figure, axes = _figure(columns, rows, (1.4 + 3.2 * columns, 1.1 + 2.5 * rows), title, sharey=True)
    for axis, (name, traces) in zip(axes.flat, played.items(), strict=False):
        for colour, (policy, trace) in zip(_colours(len(traces)), traces.items(), strict=True):
            _band(axis, progress(trace), colour, policy)
        axis.set_title(with_note(name, notes[name]), fontsize=9)
    _name_axes(axes, len(played), "step of the episode", _progress_label(next(iter(played.values()))))
    _legend(figure, axes.flat[0], [], len(next(iter(next(iter(played.values())).values())).returns))
    return figure


def plot_weights(conditions: dict[str, Trace], at: int | None, title: str) -> "Figure":
    """Where all plastic weights are in the plane of two principal components, and how fast each layer changes.

    As in Najarro & Risi (NeurIPS 2020, arXiv 2007.02686), the weights at a step of an episode are a point; the components
    are those of all points of all conditions together.

    :param conditions: name -> episodes of one policy
    :param at: the step of the event, if there is one
    """
    from matplotlib.figure import Figure

    columns, rows = _grid(len(conditions))
    figure = Figure(figsize=(max(8.0, 1.2 + 3.4 * columns), 3.4 + 2.9 * rows), dpi=140, layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.9 * rows, 2.6])[:, 0]
    planes = upper.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    speed = lower.subplots()
    for axis in (*planes.flat, speed):
        _style(axis)
    figure.suptitle(title, fontsize=11)
    _draw_planes(upper, planes, conditions, at)
    first = next(iter(conditions.values()))
    for colour, (name, trace) in zip(_colours(len(conditions)), conditions.items(), strict=True):
        for i, changes in enumerate(trace.weight_changes):
            mean = _nanmean(changes)
            label = name if i == 0 else None
            steps = np.arange(1, 1 + len(mean))
            speed.plot(steps, mean, color=colour, linestyle=LINES[i % len(LINES)], linewidth=1.0, alpha=0.85, label=label)
    if at is not None:
        speed.axvline(at, color="0.3", linewidth=1.0)
    speed.set_yscale("log")
    speed.set(xlabel="step of the episode", ylabel="relative change\nof a layer per step")
    layers = [(LINES[i % len(LINES)], f"layer {i}, {w.shape[2]} x {w.shape[3]}") for i, w in enumerate(first.weights)]
    _legend(lower, speed, layers)
    return figure


def _draw_planes(figure: Any, axes: Any, conditions: dict[str, Trace], at: int | None) -> None:
    """A panel for each condition: points coloured by time, the beginning, the event and the end of each episode marked."""
    paths, explained = principal_paths([_flat(trace) for trace in conditions.values()])
    last = max(trace.weight_steps[-1] for trace in conditions.values())
    for axis, path, (name, trace) in zip(axes.flat, paths, conditions.items(), strict=False):
        axis.set_title(name, fontsize=9)
        for episode in path:
            known = episode[~np.isnan(episode[:, 0])]
            axis.plot(*known.T, color="0.6", linewidth=0.3, alpha=0.3)
            points = axis.scatter(*known.T, c=trace.weight_steps[: len(known)], vmin=0, vmax=last, s=7, linewidths=0)
            axis.plot(*known[0], **MARKS["start"])
            axis.plot(*known[-1], **MARKS["end"])
            if at is not None and len(known) and trace.weight_steps[len(known) - 1] > at:
                axis.plot(*known[np.argmax(trace.weight_steps > at)], **MARKS["event"])
    names = [f"{name} component ({part:.0%})" for name, part in zip(("1st", "2nd"), explained, strict=True)]
    _name_axes(axes, len(conditions), *names)
    figure.colorbar(points, ax=axes, label="step of the episode", aspect=30)
    shown = axes.flat[0]
    for name in ("start", "event", "end") if at is not None else ("start", "end"):
        shown.plot([], [], label=f"step {at}" if name == "event" else name, **MARKS[name])
    _legend(figure, shown, [])


def rate(trace: Trace, window: int) -> np.ndarray:
    """Mean reward of the last `window` steps (fewer at the beginning), (E, T); nothing is earned after the end."""
    earned = np.nan_to_num(trace.rewards, nan=0.0)
    window = min(window, earned.shape[1])
    first = np.cumsum(earned[:, : window - 1], axis=1) / np.arange(1, window)
    return np.concatenate([first, moving_mean(earned, window)], axis=1)


def progress(trace: Trace) -> np.ndarray:
    """Position along x, or the return so far in environments that do not tell it, (E, T); where an episode ended it stays."""
    if trace.positions is None:
        return np.cumsum(np.nan_to_num(trace.rewards, nan=0.0), axis=1)
    last = trace.lengths[:, None] - 1
    steps = np.minimum(np.arange(trace.positions.shape[1]), last)
    return np.take_along_axis(trace.positions, steps, axis=1)


def principal_paths(points: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Groups of paths (W, S, D) in the plane of the first two principal components of all their points, (W, S, 2), and how
    much of the variance each component explains, (2,); nan stays nan."""
    stacked = np.concatenate([group.reshape(-1, group.shape[-1]) for group in points])
    known = ~np.isnan(stacked).any(1)
    centre = stacked[known].mean(0)
    _, scales, components = np.linalg.svd(stacked[known] - centre, full_matrices=False)
    variances = np.pad(scales**2, (0, 2))[:2]
    total = (scales**2).sum()
    return [(group - centre) @ components[:2].T for group in points], variances / total if total else variances


def with_note(name: str, note: str) -> str:
    """The name, and in brackets what is said about it."""
    return f"{name} ({note})" if note else name


def _figure(columns: int, rows: int, size: tuple[float, float], title: str, sharey: bool = False) -> "tuple[Figure, Any]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=140, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False)
    for axis in axes.flat:
        _style(axis)
        axis.margins(x=0.01)
    figure.suptitle(title, fontsize=11)
    return figure, axes


def _grid(count: int) -> tuple[int, int]:
    """Columns and rows for so many panels."""
    columns = 2 if count == 4 else min(3, count)
    return columns, -(-count // columns)


def _name_axes(axes: Any, count: int, x: str, y: str) -> None:
    """Labels at the left and under the lowest of `count` panels in each column; the rest of the grid is left empty."""
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    for i in range(max(0, count - axes.shape[1]), count):
        axes.flat[i].set_xlabel(x)
        axes.flat[i].tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        axis.set_ylabel(y)


def _style(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25)


def _band(axis: Any, curves: np.ndarray, colour: str, label: str) -> None:
    """Mean and standard deviation of curves (E, T)."""
    mean, spread = curves.mean(0), curves.std(0)
    steps = np.arange(len(mean))
    axis.fill_between(steps, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    axis.plot(steps, mean, color=colour, linewidth=1.4, label=label)


def _legend(figure: Any, axis: Any, styles: list[tuple[str, str]], episodes: int = 0) -> None:
    """Below the axes: the lines of one of them, what line styles mean, and of how many episodes bands are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles, labels = axis.get_legend_handles_labels()
    for style, label in styles:
        handles.append(Line2D([], [], color="0.35", linewidth=1.1, linestyle=style))  # type: ignore[arg-type]
        labels.append(label)
    if episodes:
        handles.append(Patch(color="0.35", alpha=0.15, linewidth=0))
        labels.append(f"standard deviation of {episodes} episodes")
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), frameon=False, fontsize=8)


def _progress_label(traces: dict[str, Trace]) -> str:
    told = all(trace.positions is not None for trace in traces.values())
    return "position along x (m)" if told else "return so far"


def _flat(trace: Trace) -> np.ndarray:
    """All weights of each snapshot in one row, (W, S, D)."""
    return np.concatenate([layer.reshape(*layer.shape[:2], -1) for layer in trace.weights], axis=-1)


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is known."""
    counts = (~np.isnan(values)).sum(0)
    return np.divide(np.nansum(values, axis=0), counts, out=np.full(values.shape[1], np.nan), where=counts > 0)


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
