"""Pictures of spiking policies: spikes, potentials, actions, and learning curves over seeds.

Every function gives a matplotlib Figure; save it with `figure.savefig("raster.png")`. No display is needed.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from policies.watch import Watch, play

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Episode:
    """An episode of S steps of the environment, T steps of the network each.

    :param names: of the spiking layers
    :param spikes: of each layer, (S, T, N), boolean
    :param potentials: of each layer, (S, T, N), when it is decided whether a neuron fires, before the reset; less the
        shift of the threshold where neurons are adaptive, so that they fire above `threshold`
    :param from_rest: potentials begin at rest in every step of the environment
    :param actions: (S, ...), as given to the environment
    :param rewards: (S,)
    """

    names: tuple[str, ...]
    spikes: tuple[np.ndarray, ...]
    potentials: tuple[np.ndarray, ...]
    threshold: float
    from_rest: bool
    actions: np.ndarray
    rewards: np.ndarray


def record_episode(
    model: Any,
    env: gymnasium.Env[Any, Any] | VecEnv,
    max_steps: int = 1000,
    deterministic: bool = True,
    seed: int | None = None,
) -> Episode:
    """Let a spiking policy play one episode and keep what its network does.

    :param model: a model with a spiking policy, or the policy
    :param env: with the wrappers that the policy was trained with; of several environments the first is recorded
    :param max_steps: record at most so many steps
    :param seed: of the start state
    """
    spikes, potentials, actions, rewards = [], [], [], []
    from_rest = True
    with Watch(model) as watch:
        thresholds = [neurons.constants.v_th for neurons in watch.neurons]
        for step in play(model, env, getattr(env, "num_envs", 1), max_steps, deterministic, seed):
            call = watch.take()
            if call is None or not step.counted[0]:
                break
            spikes.append([layer.spikes[:, 0].bool().cpu().numpy() for layer in call.layers])
            potentials.append(
                [(layer.distances[:, 0] + v_th).cpu().numpy() for layer, v_th in zip(call.layers, thresholds, strict=True)]
            )
            from_rest = call.from_rest
            actions.append(step.actions[0])
            rewards.append(step.rewards[0])
        names = [f"layer {i}" for i in range(len(watch.net.layers))] + (["decoder"] if watch.net.decoder.population else [])
    return Episode(
        tuple(names),
        tuple(np.stack(layer) for layer in zip(*spikes, strict=True)),
        tuple(np.stack(layer) for layer in zip(*potentials, strict=True)),
        thresholds[0],
        from_rest,
        np.stack(actions),
        np.array(rewards),
    )


def plot_raster(episode: Episode, start: int = 0, steps: int = 50, title: str = "") -> "Figure":
    """Who fired when: neurons of every layer over the network's steps, and below them the actions and rewards.

    :param start: first step of the environment that is shown
    :param steps: how many of them; above about 100 single spikes can no longer be told apart
    """
    stop = _stop(episode, start, steps)
    figure, axes = _figure(len(episode.names) + 2, 10.0, [3.0] * len(episode.names) + [1.4, 1.0], title)
    for axis, name, fired in zip(axes, episode.names, episode.spikes, strict=False):
        shown = fired[start:stop].reshape(-1, fired.shape[-1])
        extent = (start, stop, fired.shape[-1] - 0.5, -0.5)
        axis.imshow(shown.T, cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="antialiased", extent=extent)
        axis.set_ylabel(f"{name}\n{fired.shape[-1]} neurons")
        axis.set_title(f"{shown.mean():.3f} spikes per neuron and step", loc="right", fontsize=8, color="0.35", pad=4)
    _actions(axes[-2], episode.actions[start:stop], start)
    axes[-1].stairs(episode.rewards[start:stop], np.arange(start, stop + 1), color="0.25", baseline=None)
    axes[-1].set_ylabel("reward")
    _steps_below(axes, start, stop, episode.spikes[0].shape[1])
    return figure


def plot_membranes(
    episode: Episode,
    layer: int | str = 0,
    neurons: Sequence[int] | None = None,
    start: int = 0,
    steps: int = 25,
    title: str = "",
) -> "Figure":
    """Potentials of some neurons of a layer with their spikes.

    :param layer: index or name
    :param neurons: which (default: six, from those that never fire in the steps shown to the one that fires most)
    :param start: first step of the environment that is shown
    :param steps: how many of them
    """
    if isinstance(layer, str):
        if layer not in episode.names:
            raise ValueError(f"The episode has no layer '{layer}'; it has {', '.join(episode.names)}.")
        layer = episode.names.index(layer)
    stop = _stop(episode, start, steps)
    size = episode.spikes[layer].shape[-1]
    fired = episode.spikes[layer][start:stop].reshape(-1, size)
    potentials = episode.potentials[layer][start:stop].reshape(-1, size)
    if neurons is None:
        order = np.argsort(fired.sum(0), kind="stable")
        neurons = [int(i) for i in order[np.linspace(0, size - 1, min(6, size)).astype(int)]]
    for i in neurons:
        if not 0 <= i < size:
            raise ValueError(f"Layer '{episode.names[layer]}' has no neuron {i}; it has 0 to {size - 1}.")
    figure, axes = _figure(len(neurons), 10.0, [1.3] * len(neurons), title or f"Potentials, {episode.names[layer]}")
    t = episode.spikes[layer].shape[1]
    times = start + (np.arange(len(fired)) + 0.5) / t
    for axis, i in zip(axes, neurons, strict=True):
        pieces = (-1, t) if episode.from_rest else (1, -1)
        x, y = times.reshape(pieces).T, potentials[:, i].reshape(pieces).T
        axis.plot(x, y, color="tab:blue", linewidth=1.2, marker=".", markersize=2)
        axis.axhline(episode.threshold, color="0.5", linewidth=0.8, linestyle="--")
        spikes = fired[:, i]
        axis.plot(times[spikes], potentials[spikes, i], linestyle="", marker="o", markersize=3, color="tab:red")
        axis.set_ylabel(f"neuron {i}", rotation=0, ha="right", va="center")
        axis.set_title(f"{spikes.mean():.2f} spikes per step", loc="right", fontsize=8, color="0.35", pad=4)
    axes[0].set_title("blue: potential before the reset, red: spike, dashed: threshold", loc="left", fontsize=8, pad=4)
    _steps_below(axes, start, stop, t)
    return figure


def plot_actions(
    a: Episode | np.ndarray,
    b: Episode | np.ndarray,
    labels: tuple[str, str] = ("a", "b"),
    start: int = 0,
    steps: int = 200,
    title: str = "",
) -> "Figure":
    """Two controllers' actions one above the other, a row for each dimension; numbers of discrete actions in one row.

    :param a: an episode, or actions (S, ...)
    :param b: the same
    :param start: first step that is shown
    :param steps: how many
    """
    first, second = (np.asarray(x.actions if isinstance(x, Episode) else x) for x in (a, b))
    first, second = (x.reshape(len(x), -1).astype(float) for x in (first, second))
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"The actions have {first.shape[1]} and {second.shape[1]} dimensions; they must be as many.")
    stop = min(start + steps, max(len(first), len(second)))
    if not 0 <= start < stop:
        raise ValueError(f"start={start} lies outside the actions, of which there are {max(len(first), len(second))}.")
    figure, axes = _figure(first.shape[1], 10.0, [1.4] * first.shape[1], title)
    common = slice(start, min(stop, len(first), len(second)))
    for i, axis in enumerate(axes):
        for actions, label, colour in zip((first, second), labels, ("tab:blue", "tab:orange"), strict=True):
            shown = actions[start:stop, i]
            axis.plot(np.arange(start, start + len(shown)), shown, color=colour, linewidth=1.0, label=label)
        axis.set_ylabel(f"action {i}")
        apart = first[common, i] - second[common, i]
        if len(apart):
            axis.set_title(
                f"root mean square of the difference {np.sqrt(np.mean(apart**2)):.3f}", loc="right", fontsize=8, pad=4
            )
    axes[0].legend(frameon=False, fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0)
    axes[-1].set_xlabel("environment step")
    return figure


def plot_learning_curves(
    runs: Mapping[str, Sequence[str | Path]], window: int = 20, points: int = 200, title: str = ""
) -> "Figure":
    """Return over steps of the environment: mean and standard deviation over the runs (seeds) of each label.

    :param runs: label -> files `evaluations.npz` of EvalCallback, or folders with one or with `monitor.csv` files
    :param window: episodes that a monitor's returns are averaged over
    :param points: of each curve; it ends where the shortest of its runs does
    """
    if not runs:
        raise ValueError("There are no runs to plot.")
    figure, (axis,) = _figure(1, 7.0, [4.0], title)
    for i, (label, paths) in enumerate(runs.items()):
        curves = [_curve(Path(path), window) for path in paths]
        if not curves:
            raise ValueError(f"There are no runs of '{label}'.")
        steps = np.linspace(max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves), points)
        returns = np.stack([np.interp(steps, *curve) for curve in curves])
        mean, spread = returns.mean(0), returns.std(0)
        colour = f"C{i}"
        axis.plot(steps, mean, color=colour, linewidth=1.5, label=f"{label} ({len(curves)})")
        axis.fill_between(steps, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
    axis.set(xlabel="environment steps", ylabel="return")
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, title="mean and s.d. over (runs)", title_fontsize=8)
    return figure


def _curve(path: Path, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps and returns of one run."""
    evaluations = path / "evaluations.npz" if path.is_dir() else path
    if evaluations.suffix == ".npz" and evaluations.is_file():
        with np.load(evaluations) as data:
            return data["timesteps"].astype(float), data["results"].mean(1)
    episodes: list[tuple[float, float, float]] = []  # when it ended, its length, its return
    for monitor in path.glob("*monitor.csv"):
        with open(monitor) as file:
            began = json.loads(file.readline()[1:])["t_start"]
            episodes += [(began + float(row["t"]), float(row["l"]), float(row["r"])) for row in csv.DictReader(file)]
    if not episodes:
        raise ValueError(f"'{path}' is neither an evaluations.npz nor a folder with one or with monitor.csv files.")
    _, lengths, returns = np.array(sorted(episodes)).T
    sums, counts = (np.cumsum(np.pad(x, (window, 0))) for x in (returns, np.ones_like(returns)))
    return np.cumsum(lengths), (sums[window:] - sums[:-window]) / (counts[window:] - counts[:-window])


def _figure(rows: int, width: float, heights: list[float], title: str) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, sum(heights) + 0.9), dpi=140, layout="constrained")
    axes = figure.subplots(rows, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure, axes


def _actions(axis: Any, actions: np.ndarray, start: int) -> None:
    flat = actions.reshape(len(actions), -1)
    for i, column in enumerate(flat.T):
        axis.stairs(column, np.arange(start, start + len(flat) + 1), baseline=None, label=str(i), linewidth=1.0)
    axis.set_ylabel("action")
    if 1 < flat.shape[1] <= 12:
        axis.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _stop(episode: Episode, start: int, steps: int) -> int:
    if not 0 <= start < len(episode.rewards) or steps < 1:
        raise ValueError(f"start={start}, steps={steps} show nothing of an episode of {len(episode.rewards)} steps.")
    return min(start + steps, len(episode.rewards))


def _steps_below(axes: Any, start: int, stop: int, n_timesteps: int) -> None:
    axes[-1].set_xlim(start, stop)
    for axis in axes:
        if stop - start <= 60:
            axis.set_xticks(range(start, stop + 1), minor=True)
        axis.set_axisbelow(True)
        axis.grid(axis="x", which="both", color="0.85", linewidth=0.5)
    axes[-1].set_xlabel(f"environment step ({n_timesteps} steps of the network each)")
