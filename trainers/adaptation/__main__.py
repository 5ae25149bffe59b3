"""`python -m trainers.adaptation MODEL... --damage front_left_leg --at 500`: what policies do when the world changes."""

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import tyro
import yaml

from trainers.adaptation.config import AdaptationConfig
from trainers.adaptation.players import Player, home_env, load_player, split_names
from trainers.adaptation.studies import Results, play_all, study_damage, study_perturbation, study_variants
from trainers.adaptation.worlds import World, horizon_of, read_variants, scheduled
from trainers.checkpoint import CheckpointError, write_atomically
from trainers.devices import use_all_cores
from trainers.make_env import find_env_id, versions
from trainers.plots import to_png
from trainers.run import new_folder
from trainers.tables import to_csv, to_text


def main(args: list[str] | None = None) -> None:
    """Play, print tables and write results; exit code 2 with one sentence when something given is wrong."""
    config = tyro.cli(AdaptationConfig, args=args, prog="python -m trainers.adaptation", description=AdaptationConfig.__doc__)
    try:
        adapt(config)
    except (ValueError, CheckpointError, gymnasium.error.DependencyNotInstalled) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def adapt(config: AdaptationConfig) -> Path:
    """Do the studies; the folder of the results, which is made when the first are there."""
    config.check()
    use_all_cores()
    models = split_names(config.models)
    seen, unseen = read_variants(config.variants), read_variants(config.unseen)
    world = _find_world(config, models)
    players = _load(config, models, world, seen | unseen)
    folder = None
    legends: dict[str, None] = {}
    for results in _studies(config, players, world, seen, unseen):
        folder = folder or _begin_folder(config, world)
        _write(folder, results)
        legends[results.legend] = None
    assert folder is not None
    print("", *legends, sep="\n")
    print(f"\nTables, numbers of every episode and pictures: {folder}")
    return folder


def _find_world(config: AdaptationConfig, models: list[tuple[str, Path]]) -> World:
    """The environment that was asked for, or the first model's."""
    _, first = models[0]
    home = home_env(first, config.model)
    if config.env is None and home is None:
        raise ValueError(f"'{first}' does not tell its environment; give env, such as DamagedAnt-v0.")
    env_id, env_kwargs = home or ("", {})
    if config.env is not None and find_env_id(config.env) != env_id:
        env_id, env_kwargs = find_env_id(config.env), {}
    return World(env_id, env_kwargs | config.env_kwargs)


def _load(
    config: AdaptationConfig, models: list[tuple[str, Path]], world: World, variants: dict[str, dict[str, Any]]
) -> list[Player]:
    """The policies, once it is clear that they can act in every environment of the studies."""
    with world.open(1) as venv:
        spaces = venv.observation_space, venv.action_space
        config.check_horizon(horizon_of(venv))
        players = [load_player(name, path, config.model, world.env_id, world.env_kwargs, venv) for name, path in models]
    changed = variants | {f"damage={damage}": {"damage": scheduled(damage, config.at)} for damage in config.damage}
    for name, env_kwargs in changed.items():
        with world.but(**env_kwargs).open(1) as venv:
            if (venv.observation_space, venv.action_space) != spaces:
                raise ValueError(f"With {name}, {world.env_id} has other spaces than without; policies cannot act in both.")
    return players


def _studies(
    config: AdaptationConfig,
    players: list[Player],
    world: World,
    seen: dict[str, dict[str, Any]],
    unseen: dict[str, dict[str, Any]],
) -> Iterator[Results]:

    undisturbed = {}
    if config.damage or config.perturb:
        undisturbed = play_all(players, world, config)
        if not any((trace.lengths > config.at).any() for trace in undisturbed.values()):
            raise ValueError(f"No episode of any policy lasts until step {config.at}; give an earlier at.")
        for name, trace in undisturbed.items():
            if trace.state_arrays:
                config.check_arrays(name, trace.state_arrays)
    if seen or unseen:
        yield study_variants(players, world, seen, unseen, config)
    for damage in dict.fromkeys(config.damage):
        note = "unseen" if f"damage={damage}" in unseen else ""
        yield study_damage(players, world, damage, undisturbed, note, config)
    for perturbation in dict.fromkeys(config.perturb):
        yield study_perturbation(players, world, perturbation, undisturbed, config)


def _begin_folder(config: AdaptationConfig, world: World) -> Path:
    """A new folder that says what is done."""
    folder = new_folder(Path("runs/adaptation"), world.env_id) if config.out is None else Path(config.out)
    values = dataclasses.asdict(config)
    header = {
        "command": "adaptation",
        "config": {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()},
        "env": world.env_id,
        "env_kwargs": world.env_kwargs,
        "versions": versions(),
    }
    write_atomically(folder / "config.yml", yaml.safe_dump(header, sort_keys=False).encode())
    return folder


def _write(folder: Path, results: Results) -> None:

    print(f"\n{results.title}\n{to_text(results.rows, hidden=('episodes', 'length'))}")
    files = {
        f"{results.name}.csv": to_csv(results.rows),
        f"{results.name}_episodes.csv": to_csv(results.episodes),
        **{f"{name}.png": to_png(figure) for name, figure in results.figures.items()},
    }
    for name, data in files.items():
        write_atomically(folder / re.sub(r"[^\w.-]+", "_", name), data)


if __name__ == "__main__":
    main()
