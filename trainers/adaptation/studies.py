"""The studies: which episodes are played, what is measured in them, and what is drawn."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trainers.adaptation import plots
from trainers.adaptation.config import AdaptationConfig
from trainers.adaptation.episodes import Trace, record
from trainers.adaptation.measures import Recovery, measure_recovery, percent_of
from trainers.adaptation.perturb import make_perturbation
from trainers.adaptation.players import Player
from trainers.adaptation.worlds import World, horizon_of, scheduled
from trainers.tables import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Traces = dict[str, Trace]
"""By the name of the policy."""


@dataclass(frozen=True)
class Results:
    """What came out of a study.

    :param name: of its files
    :param title: what was played
    :param legend: what the columns mean
    :param rows: one a policy and condition
    :param episodes: one an episode
    :param figures: by the names of their files
    """

    name: str
    title: str
    legend: str
    rows: list[Row]
    episodes: list[Row]
    figures: "dict[str, Figure]"


def play_all(
    players: list[Player],
    world: World,
    config: AdaptationConfig,
    change_of: Callable[[Player], Callable[[int, Any], Any]] | None = None,
) -> Traces:
    """Episodes of every policy in one world.

    :param change_of: policy -> what happens to its state
    """
    with world.open(min(config.n_envs, config.episodes)) as venv:
        return {
            player.name: record(player, venv, config.episodes, config.seed, horizon_of(venv), change_of and change_of(player))
            for player in players
        }


def study_variants(
    players: list[Player], world: World, seen: dict[str, Row], unseen: dict[str, Row], config: AdaptationConfig
) -> Results:
    """Whole episodes in several environments.

    :param seen: name -> what is different in that environment
    :param unseen: the same, marked
    """
    notes = dict.fromkeys(seen, "") | dict.fromkeys(unseen, "unseen")
    played = {name: play_all(players, world.but(**changed), config) for name, changed in (seen | unseen).items()}
    rows, episodes = [], []
    for player in players:
        first = next(iter(played.values()))[player.name].returns.mean()
        for name, traces in played.items():
            trace = traces[player.name]
            head = {"policy": player.name, "environment": name, "note": notes[name]}
            rows.append(head | _totals(trace) | {"percent_of_first": float(percent_of(trace.returns.mean(), first))})
            episodes += _episode_rows(head, trace, config.seed)
    title = f"{world.env_id}, {config.episodes} episodes"
    figures = {"variants": plots.plot_variants(played, notes, title)}
    for player in players:
        conditions = {plots.with_note(name, notes[name]): traces[player.name] for name, traces in played.items()}
        figures |= _weights(f"variants_weights_{player.name}", conditions, f"{world.env_id}, {player.name}", None)
    legend = "Percent of first: of the return in the first environment; below 100 is worse, for negative returns too."
    return Results("variants", title, legend, rows, episodes, figures)


def study_damage(
    players: list[Player], world: World, damage: str, undisturbed: Traces, note: str, config: AdaptationConfig
) -> Results:
    """Damage that comes in mid-episode and stays."""
    schedule = scheduled(damage, config.at)
    event = Event(f"damage_{damage}", schedule, note, 1)
    traces = play_all(players, world.but(damage=schedule), config)
    return _study_event(event, traces, undisturbed, world, config)


def study_perturbation(
    players: list[Player], world: World, perturbation: str, undisturbed: Traces, config: AdaptationConfig
) -> Results:
    """The network's state zeroed, shuffled or drawn anew, once or in several steps."""
    what = perturbation + (f":{','.join(map(str, config.arrays))}" if config.arrays else "")
    last = f"..{config.at + config.steps - 1}" if config.steps > 1 else ""
    event = Event(f"perturb_{perturbation}", f"{what}@{config.at}{last}", "", config.steps)

    def change_of(player: Player) -> Callable[[int, Any], Any]:
        return make_perturbation(perturbation, config.at, config.steps, player.state_axis, config.seed, config.arrays)

    stateful = [player for player in players if undisturbed[player.name].state_arrays]
    traces = play_all(stateful, world, config, change_of) if stateful else {}
    return _study_event(event, traces, undisturbed, world, config)


class Event(NamedTuple):
    """Something that happens in mid-episode: the name of its files, what tables and pictures call it, what is said about
    it, and how many steps it lasts (1: a moment)."""

    file: str
    label: str
    note: str
    steps: int


def _study_event(event: Event, traces: Traces, undisturbed: Traces, world: World, config: AdaptationConfig) -> Results:
    """Before and after; policies that are only in `undisturbed` have no state that could be perturbed."""
    rows: list[Row] = []
    episodes: list[Row] = []
    for policy, control in undisturbed.items():
        for name, note, trace in (("undisturbed", "", control), (event.label, event.note, traces.get(policy))):
            head = {"policy": policy, "event": name, "note": note}
            if trace is None:
                rows.append(head | {"note": "no state: nothing to perturb"})
                continue
            recovery = measure_recovery(trace.rewards, config.at, config.window, config.fraction)
            rows.append(head | _totals(trace) | _recovery(recovery))
            episodes += _episode_rows(head, trace, config.seed, _of_all(recovery, trace.lengths > config.at))
    title = plots.with_note(f"{world.env_id}: {event.label}", event.note)
    figures: dict[str, Figure] = {}
    if traces:
        figures[event.file] = plots.plot_event(traces, undisturbed, config.at, event.steps, config.window, title)
    for policy, trace in traces.items():
        conditions = {"undisturbed": undisturbed[policy], event.label: trace}
        figures |= _weights(
            f"{event.file}_weights_{policy}", conditions, f"{world.env_id}, {policy}: {event.label}", config.at
        )
    legend = (
        f"Rewards before and after step {config.at}. Rates: reward per step, of the {config.window} steps before, of the "
        f"{config.window} from then on, of the last {config.window}.\nPercent: the last rate of the one before. Recovered: "
        f"how many of the episodes that reached the event came back to {config.fraction:.0%} of the rate before; recovery "
        "steps: after how many steps (median)."
    )
    return Results(event.file, f"{title}, {config.episodes} episodes", legend, rows, episodes, figures)


def _recovery(recovery: Recovery) -> Row:
    """Of all episodes that reached the event: means, the percentage of the mean rates, and how many recovered when."""
    reached, back = len(recovery.steps), recovery.steps[~np.isnan(recovery.steps)]
    names = ("before", "after", "rate_before", "rate_after", "rate_end")
    means = {name: float(getattr(recovery, name).mean()) if reached else math.nan for name in names}
    percent = float(percent_of(np.array(means["rate_end"]), np.array(means["rate_before"])))
    median = float(np.median(back)) if len(back) else math.nan
    return {"reached": reached, **means, "percent": percent, "recovered": len(back), "recovery_steps": median}


def _of_all(recovery: Recovery, reached: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of all episodes, nan for those that had ended before."""
    numbers = {name: np.full(len(reached), np.nan) for name in Recovery._fields}
    for name, values in recovery._asdict().items():
        numbers[name][reached] = values
    return numbers


def _weights(name: str, conditions: Traces, title: str, at: int | None) -> "dict[str, Figure]":
    """Policies without plastic weights have no such picture."""
    if not next(iter(conditions.values())).weights:
        return {}
    return {name: plots.plot_weights(conditions, at, title)}


def _totals(trace: Trace) -> Row:
    row = {
        "episodes": len(trace.returns),
        "return": float(trace.returns.mean()),
        "return_sd": float(trace.returns.std()),
        "length": float(trace.lengths.mean()),
    }
    if trace.distances is not None:
        row["distance"] = float(trace.distances.mean())
    return row


def _episode_rows(head: Row, trace: Trace, seed: int, numbers: dict[str, np.ndarray] | None = None) -> list[Row]:
    rows = []
    for i, (total, length) in enumerate(zip(trace.returns, trace.lengths, strict=True)):
        own = {name: float(values[i]) for name, values in (numbers or {}).items()}
        rows.append({**head, "seed": seed + i, "return": float(total), "length": int(length), **own})
    return rows
