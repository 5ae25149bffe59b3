"""Pictures of adaptation: rewards and distance against time, and the paths of plastic weights.

Every function gives a matplotlib Figure. Bands are one standard deviation over episodes.
"""

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from trainers.adaptation.episodes import Trace
from trainers.adaptation.measures import moving_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = [f"tab:{name}" for name in ("blue", "orange", "green", "red", "purple", "brown", "pink", "olive", "cyan", "gray")]
LINES = ("-", "--", ":", "-.")


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
    columns = min(3, len(played))
    rows = -(-len(played) // columns)
    figure, axes = _figure(columns, rows, (1.4 + 3.2 * columns, 1.1 + 2.5 * rows), title, sharey=True)
    for axis, (name, traces) in zip(axes.flat, played.items(), strict=False):
        for colour, (policy, trace) in zip(_colours(len(traces)), traces.items(), strict=True):
            _band(axis, progress(trace), colour, policy)
        axis.set_title(name + (f" ({notes[name]})" if notes[name] else ""), fontsize=9)
    for axis in axes.flat[len(played) :]:
        axis.set_visible(False)
    for column in range(columns):
        lowest = axes[(len(played) - 1 - column) // columns, column]
        lowest.set_xlabel("step of the episode")
        lowest.tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        axis.set_ylabel(_progress_label(next(iter(played.values()))))
    _legend(figure, axes.flat[0], [], len(next(iter(next(iter(played.values())).values())).returns))
    return figure


def plot_weights(conditions: dict[str, Trace], at: int | None, title: str) -> "Figure":
    """The path of all plastic weights in the plane of their two principal components, and how fast each layer changes.

    As in Najarro & Risi (NeurIPS 2020, arXiv 2007.02686), weights of an episode are points; the components are those of
    all points of all conditions together. A layer's change is the norm of the difference of two neighbouring snapshots,
    as a part of the norm of the earlier one, per step.

    :param conditions: name -> episodes of one policy
    :param at: the step of the event, if there is one
    """
    figure, axes = _figure(2, 1, (11.0, 4.4), title, sharex=False)
    plane, speed = axes[0]
    paths, explained = principal_paths([_flat(trace) for trace in conditions.values()])
    for colour, path, trace in zip(_colours(len(conditions)), paths, conditions.values(), strict=True):
        for episode in path:
            plane.plot(*episode.T, color=colour, linewidth=0.8, alpha=0.8)
            plane.plot(*episode[0], color=colour, marker="o", markersize=5, markerfacecolor="white")
            ends = episode[~np.isnan(episode[:, 0])]
            plane.plot(*ends[-1], color=colour, marker="s", markersize=5)
            if at is not None and (trace.weight_steps > at).any():
                plane.plot(*episode[np.argmax(trace.weight_steps > at)], color=colour, marker="x", markersize=7)
    plane.set_xlabel(f"first component ({explained[0]:.0%} of the variance)")
    plane.set_ylabel(f"second component ({explained[1]:.0%})")
    marks = [("o", "start"), ("s", "end")] + ([("x", f"step {at}")] if at is not None else [])
    for colour, (name, trace) in zip(_colours(len(conditions)), conditions.items(), strict=True):
        for i, layer in enumerate(trace.weights):
            change = weight_change(layer, trace.weight_steps)
            line = {"color": colour, "linestyle": LINES[i % 4], "linewidth": 1.1}
            speed.plot(trace.weight_steps[1:], _nanmean(change), label=name if i == 0 else None, **line)
    if at is not None:
        speed.axvline(at, color="0.3", linewidth=1.0)
    speed.set_yscale("log")
    speed.set(xlabel="step of the episode", ylabel="relative change of a layer's weights per step")
    layers = [
        (LINES[i % 4], f"layer {i}, {w.shape[2]} x {w.shape[3]}")
        for i, w in enumerate(next(iter(conditions.values())).weights)
    ]
    _legend(figure, speed, layers + marks)
    return figure


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


def weight_change(layer: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """|W_k+1 - W_k| / |W_k| / (steps between them) of snapshots (W, S, in, out), Frobenius norms: (W, S - 1). nan where
    the episode is over or the weights are zero."""
    norms = np.linalg.norm(layer[:, :-1], axis=(2, 3))
    apart = np.linalg.norm(np.diff(layer, axis=1), axis=(2, 3))
    return np.divide(apart, norms * np.diff(steps), out=np.full_like(apart, np.nan), where=norms > 0)


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


def to_png(figure: "Figure") -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _figure(
    columns: int, rows: int, size: tuple[float, float], title: str, sharex: bool = True, sharey: bool = False
) -> "tuple[Figure, Any]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=140, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
        axis.margins(x=0.01)
    figure.suptitle(title, fontsize=11)
    return figure, axes


def _band(axis: Any, curves: np.ndarray, colour: str, label: str) -> None:
    """Mean and standard deviation of curves (E, T)."""
    mean, spread = curves.mean(0), curves.std(0)
    steps = np.arange(len(mean))
    axis.fill_between(steps, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    axis.plot(steps, mean, color=colour, linewidth=1.4, label=label)


def _legend(figure: "Figure", axis: Any, styles: list[tuple[str, str]], episodes: int = 0) -> None:
    """Below the axes: the lines of one of them, what line styles and markers mean, and of how many episodes bands are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles, labels = axis.get_legend_handles_labels()
    for style, label in styles:
        drawn: dict[str, Any] = {"linestyle": style} if style in LINES else {"linestyle": "", "marker": style}
        handles.append(Line2D([], [], color="0.35", linewidth=1.1, markersize=5, **drawn))
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
