"""What offline runs have learned: returns on fresh start states, scores, time steps, and what a decision costs."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.table import Table
from torch import nn

from policies.energy import E_AC, E_MAC, EnergyCard, Tally
from policies.spiking import SpikingNet
from policies.watch import Watch, play
from trainers.checkpoint import write_atomically
from trainers.experiment.folders import read_config
from trainers.offline.algorithm import OfflineAlgorithm
from trainers.offline.bcq_policy import BCQPolicy
from trainers.offline.config import EvaluateConfig, TrainConfig, options_of, train_defaults
from trainers.offline.dataset import metadata_of
from trainers.offline.run import load_run
from trainers.report.curves import find_runs
from trainers.tables import Row, to_markdown, wide_console, write_csv

PUBLISHED = {
    "acsf": "T = 0.8 % of other spiking agents', energy up to 5 x better",
}
"""What the paper's abstract claims (IJCAI 2023, arXiv 2211.11760); its tables were not at hand."""


class Cost(NamedTuple):
    """Operations of one decision.

    :param macs: multiplications, of real numbers
    :param synops: additions, caused by spikes
    :param ann_macs: multiplications of the same layers without spikes
    :param steps: most time steps of any network that takes part
    :param rate: spikes per neuron and step of the actor's hidden layers; NaN without spikes
    """

    macs: float
    synops: float
    ann_macs: float
    steps: int
    rate: float

    @property
    def nanojoules(self) -> float:
        return (self.macs * E_MAC + self.synops * E_AC) / 1000

    @property
    def ratio(self) -> float:
        """How many times the energy the same layers need without spikes."""
        return self.ann_macs * E_MAC / 1000 / self.nanojoules


def deciding_nets(policy: Any) -> tuple[dict[str, nn.Module], int]:
    """The networks that a decision passes, and how often each: BCQ's once for every candidate."""
    if isinstance(policy, BCQPolicy):
        return policy.acting, policy.n_candidates
    return {"actor": policy.actor}, 1


def costs_of(model: OfflineAlgorithm, seed: int = 0, episodes: int = 1, steps: int = 200) -> tuple[Cost, Cost]:
    """Of one pass of the actor, as papers count, and of all that a decision takes, counted while the model acts.

    :param steps: of each episode at most
    """
    nets, times = deciding_nets(model.policy)
    assert model.env is not None
    with ExitStack() as watching:
        tallies = {
            name: Tally(watching.enter_context(Watch(net)))
            for name, net in nets.items()
            if any(isinstance(m, SpikingNet) for m in net.modules())
        }
        if tallies:
            for step in play(model, model.env, episodes, steps, seed=seed):
                for tally in tallies.values():
                    tally.add(np.repeat(step.counted, times))
    passes = {name: _pass_cost(tallies[name].card() if name in tallies else None, net) for name, net in nets.items()}
    actor = passes["actor"]
    macs, synops, ann_macs = (times * sum(getattr(c, name) for c in passes.values()) for name in Cost._fields[:3])
    return actor, Cost(macs, synops, ann_macs, max(c.steps for c in passes.values()), actor.rate)


@torch.no_grad()
def agreement_of(model: OfflineAlgorithm, seed: int = 0, steps: int = 50) -> float:
    """How far what chooses agrees with BCQ's second critic (`BCQPolicy.agreement`), mean over what it sees in so many steps;
    NaN for other algorithms."""
    if not isinstance(model.policy, BCQPolicy):
        return float("nan")
    assert model.env is not None
    policy: Any = model.policy
    played = play(model, model.env, steps * model.env.num_envs, steps, seed=seed)
    found = [policy.agreement(policy.obs_to_tensor(step.observations)[0]).mean() for step in played]
    return float(torch.stack(found).mean())


def _pass_cost(card: EnergyCard | None, net: nn.Module) -> Cost:
    """Of one pass of a network; without a card it does not spike."""
    if card is None:
        macs = float(sum(m.weight.numel() for m in net.modules() if isinstance(m, nn.Linear)))
        return Cost(macs, 0.0, macs, 1, float("nan"))
    rates = [layer.rate for layer in card.layers if layer.rate is not None and layer.name != "encoder"]
    return Cost(card.macs, card.synops, card.ann_macs, card.n_timesteps, float(np.mean(rates)))


def evaluate(config: EvaluateConfig) -> list[Row]:
    """Print the table, and write it where asked."""
    if config.episodes < 1:
        raise ValueError(f"episodes={config.episodes} must be at least 1.")
    torch.manual_seed(config.seed)
    groups: dict[tuple[str, ...], list[tuple[TrainConfig, OfflineAlgorithm]]] = defaultdict(list)
    for folder in learners(config.runs):
        run, model = load_run(folder, config.model)
        groups[run.env, run.dataset, label(run)].append((run, model))
    rows = [_row(key, runs, config) for key, runs in groups.items()]
    title = f"{config.episodes} episodes of each run on fresh start states, {config.model} network"
    _print(rows, title)
    if config.out is not None:
        write_csv(Path(config.out) / "table.csv", rows)
        write_atomically(Path(config.out) / "table.md", _markdown(rows, title).encode())
    if config.video is not None:
        from trainers.evaluate import EvaluateConfig as FilmConfig
        from trainers.evaluate import film

        run, model = next(iter(groups.values()))[0]
        film(
            model,
            run.env,
            run.env_kwargs,
            FilmConfig("", video=config.video, video_steps=config.video_steps, seed=config.seed),
        )
    return rows


def learners(folders: Sequence[str]) -> list[Path]:
    """Runs of `train` among and beneath these folders."""
    runs = [folder for folder in find_runs(map(Path, folders)) if read_config(folder)["algorithm"] == "offline"]
    if not runs:
        raise ValueError(f"'{folders[0]}' holds no run of `python -m trainers.offline train`.")
    return runs


def label(run: TrainConfig) -> str:
    """The mode with what departs from it."""
    parts = [run.mode] + (["original"] if run.fidelity == "original" else [])
    parts += [f"T={run.time_steps}"] if run.time_steps is not None else []
    own, usual = (options_of(each)[3] for each in (run, train_defaults(run.env, run.mode, run.fidelity)))
    sizes = {name: own[name] for name in ("net_arch", "vae_arch") if own.get(name) != usual.get(name)}
    parts += [f"{name}={value}" for name, value in (sizes | run.policy_kwargs | run.arguments).items()]
    return " ".join(parts)


def _row(key: tuple[str, ...], runs: list[tuple[TrainConfig, OfflineAlgorithm]], config: EvaluateConfig) -> Row:
    env, dataset, name = key
    means = np.array([model.evaluate(config.episodes, config.seed).mean() for _, model in runs])
    row: Row = {"environment": env, "dataset": dataset, "label": name, "seeds": len(runs), "return": float(means.mean())}
    row |= {"spread": float(means.std()), "score": float("nan")}
    reference = metadata_of(dataset)
    if reference.get("behavior_return") is not None:
        low, high = reference["random_return"], reference["behavior_return"]
        row |= {"score": float(100 * (means.mean() - low) / (high - low))}
    row["agreement"] = float(np.mean([agreement_of(model, config.seed) for _, model in runs]))
    if config.energy:
        actor, decision = costs_of(runs[0][1], config.seed)
        row |= {"T": decision.steps, "rate": actor.rate, "actor_nJ": actor.nanojoules, "actor_ratio": actor.ratio}
        row |= {"decision_uJ": decision.nanojoules / 1000, "decision_ratio": decision.ratio}
    return row | {"published": PUBLISHED.get(runs[0][0].mode, "")}


HEADINGS = {
    "label": "mode", "environment": "environment", "seeds": "seeds", "return": "return", "score": "score %",
    "agreement": "critics agree", "T": "T",
    "rate": "spikes", "actor_nJ": "actor nJ", "actor_ratio": "x ANN", "decision_uJ": "decision uJ",
    "decision_ratio": "x ANN", "published": "published",
}  # fmt: skip
NOTE = (
    "score: 0 is random actions, 100 the policy that filled the dataset, without its noise. critics agree: correlation of the "
    "values of what chooses and of the second critic over the candidates of an observation; near 0 the choice is noise. "
    "spikes: per neuron and step of the actor. x ANN: how many times the energy the same layers need without spikes. A "
    "decision of BCQ passes proposal, actor and critic for each of its candidates."
)


def _texts(row: Row) -> list[str]:
    def cell(name: str) -> str:
        value = row.get(name, "")
        if name == "return":
            return f"{value:,.1f}" + (f" +- {row['spread']:,.1f}" if row["seeds"] > 1 else "")
        if isinstance(value, float):
            return "" if np.isnan(value) else f"{value:,.3f}" if name in ("rate", "agreement") else f"{value:,.1f}"
        return str(value)

    return [cell(name) for name in HEADINGS]


def _markdown(rows: list[Row], title: str) -> str:
    return f"{title}\n\n{to_markdown(list(HEADINGS.values()), map(_texts, rows), left=2)}\n{NOTE}\n"


def _print(rows: list[Row], title: str) -> None:
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for name in HEADINGS.values():
        table.add_column(name, no_wrap=name == "mode")
    for row in rows:
        table.add_row(*_texts(row))
    console = wide_console()
    console.print(table)
    console.print(NOTE)
