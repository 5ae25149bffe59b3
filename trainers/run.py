"""One evolution run in its folder: config.yml, metrics.csv, TensorBoard, checkpoints, best model, learning curve."""

import dataclasses
from pathlib import Path
from typing import Any

import yaml
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from policies.names import choose
from trainers import checkpoint
from trainers.checkpoint import CheckpointError, write_atomically
from trainers.cma_es import CMAES
from trainers.config import CONFIGS, RunConfig, constructor_arguments, from_dict
from trainers.dc import DC
from trainers.ec import EC
from trainers.es import ES
from trainers.evolution import EvolutionAlgorithm
from trainers.make_env import versions
from trainers.plots import learning_curve
from trainers.satr import SATR
from trainers.tables import write_csv

ALGORITHMS: dict[str, type[EvolutionAlgorithm]] = {"cma_es": CMAES, "dc": DC, "ec": EC, "es": ES, "satr": SATR}
FRESH_SEED = 1_000_003  # start states of the comparison before and after, apart from those of training
COMPARED_EPISODES = 32


def run(algorithm: str, config: RunConfig) -> bool:
    """Play the run to its end, or resume it; True when Ctrl-C ended it early."""
    cls = ALGORITHMS[algorithm]
    if config.resume is None:
        model = _build(cls, config)
        folder = begin_folder(config.folder, Path(config.log_folder) / algorithm, config.env)
        model.save(folder / "initial_model.zip")
        header = {"algorithm": algorithm, "config": _stored(config), "versions": versions()}
        write_atomically(folder / "config.yml", yaml.safe_dump(header, sort_keys=False).encode())  # from here on it can resume
    else:
        folder = Path(config.resume)
        model = _newest(cls, folder, config)
        if config.generations > _stored_generations(folder):
            header = yaml.safe_load((folder / "config.yml").read_text())
            header["config"]["generations"] = config.generations
            write_atomically(folder / "config.yml", yaml.safe_dump(header, sort_keys=False).encode())
    outputs: list[Any] = [TensorBoardOutputFormat(str(folder))]
    model.set_logger(Logger(str(folder), outputs))
    print(f"{cls.__name__} on {config.env}: {config.policy}, population {model.strategy.population_size} -> {folder}")
    tracker = _wandb_run(algorithm, config, folder) if config.track else None
    model.learn(
        total_timesteps=None if config.n_timesteps is None else config.n_timesteps - model.num_timesteps,
        callback=RunCallback(folder, config.save_every, tracker),
        reset_num_timesteps=False,
        progress_bar=config.progress,
        generations=config.generations,
    )
    _finish(model, folder)
    for output in outputs:
        output.close()
    if tracker is not None:
        tracker.finish()
    if model.interrupted:
        print(f"Interrupted after generation {model.generation}. Go on with: "
              f"python -m trainers.{algorithm} --resume {folder}")  # fmt: skip
        return True
    _compare(cls, model, folder, config)
    return False


def read_run(folder: Path, network: str) -> tuple[type[EvolutionAlgorithm], RunConfig, Path]:
    """What `run` left in a folder: the algorithm, its config, and the file of a network.

    :param network: "best" (by evaluations during the run), "last" or "initial"
    """
    names = {"best": "best_model.zip", "last": "model.zip", "initial": "initial_model.zip"}
    if network not in names:
        raise ValueError(f"model='{network}' is unknown; use best, last or initial.")
    if not (folder / "config.yml").is_file():
        raise ValueError(f"'{folder}' is not a run folder: it has no config.yml.")
    data = yaml.safe_load((folder / "config.yml").read_text())
    algorithm = choose("algorithm", data.get("algorithm", ""), ALGORITHMS)
    config = from_dict(CONFIGS[data["algorithm"]], data["config"], str(folder / "config.yml"))
    path = folder / names[network]
    if network == "best" and not path.is_file() and (folder / names["last"]).is_file():
        raise ValueError(f"'{folder}' was never evaluated, so that none of its networks is the best; give --model last.")
    return algorithm, config, path


class RunCallback(BaseCallback):
    """After each generation: metrics.csv, the best model, and every `save_every` generations a checkpoint."""

    def __init__(self, folder: Path, save_every: int, tracker: Any = None) -> None:
        super().__init__()
        self.folder = folder
        self.save_every = save_every
        self.tracker = tracker

    def _on_step(self) -> bool:
        model: Any = self.model
        write_csv(self.folder / "metrics.csv", model.history)
        if "eval/mean_reward" in model.history[-1] and model.is_best:
            model.save(self.folder / "best_model.zip")
        if model.generation % self.save_every == 0:
            save_checkpoint(model, self.folder)
        if self.tracker is not None:
            self.tracker.log(model.history[-1], step=model.num_timesteps)
        return True


def save_checkpoint(model: EvolutionAlgorithm, folder: Path) -> None:
    """Write the checkpoint of this generation and keep the one before it."""
    model.save(folder / "checkpoints" / f"generation_{model.generation:06d}.zip")
    for old in sorted((folder / "checkpoints").glob("generation_*.zip"))[:-2]:
        old.unlink()


def _build(cls: type[EvolutionAlgorithm], config: RunConfig) -> EvolutionAlgorithm:
    return cls(config.policy, config.env, **constructor_arguments(config))


def _newest(cls: type[EvolutionAlgorithm], folder: Path, config: RunConfig) -> EvolutionAlgorithm:
    """The newest whole checkpoint; a damaged one is reported and the one before it is used."""
    files = sorted((folder / "checkpoints").glob("generation_*.zip"), reverse=True)
    problem = None
    for path in [*files, folder / "initial_model.zip"]:
        try:
            checkpoint.load(path)
        except CheckpointError as error:
            problem = problem or error
            print(f"warning: {error} Trying the one before it.")
            continue
        return cls.load(path, config.env, n_envs=config.n_envs, vec_env=config.vec_env)
    raise problem or CheckpointError(f"'{folder}' holds no checkpoint to resume from.")


def _finish(model: EvolutionAlgorithm, folder: Path) -> None:
    save_checkpoint(model, folder)
    model.save(folder / "model.zip")
    learning_curve(model.history, folder / "learning_curve.png", f"{model.env_id}, {model.policy.network_name}")


def _compare(cls: type[EvolutionAlgorithm], model: EvolutionAlgorithm, folder: Path, config: RunConfig) -> None:
    """Print the return of the deployed network before and after, on start states that neither has seen."""
    before = cls.load(folder / "initial_model.zip")
    first = model.evaluate_mean(COMPARED_EPISODES, FRESH_SEED, before.policy)
    best = folder / "best_model.zip"
    after = cls.load(best).policy if best.exists() else model.policy
    last = model.evaluate_mean(COMPARED_EPISODES, FRESH_SEED, after)
    ratio = f"{last.returns.mean() / first.returns.mean():.1f} times; " if first.returns.mean() > 0 else ""
    print(f"Return before: {first.returns.mean():.1f} +- {first.returns.std():.1f}")
    print(f"Return after:  {last.returns.mean():.1f} +- {last.returns.std():.1f}  ({ratio}best network, "
          f"{COMPARED_EPISODES} episodes on fresh seeds)")  # fmt: skip
    print(f"Curve: {folder / 'learning_curve.png'}    Watch it: python -m trainers.evaluate {folder} --video out.mp4")


def begin_folder(asked: str | None, root: Path, name: str) -> Path:
    """The folder that was asked for, which may be there but hold no run, or a new one, <root>/<name>_<n>."""
    if asked is None:
        return new_folder(root, name)
    folder = Path(asked)
    if (folder / "config.yml").exists():
        raise ValueError(f"'{folder}' already holds a run; go on with --resume {folder}, or give another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def new_folder(root: Path, env: str) -> Path:
    """Create <root>/<env>_<n> with the first free n from 1 on."""
    taken = [int(p.name.rsplit("_", 1)[1]) for p in root.glob(f"{env}_*") if p.name.rsplit("_", 1)[1].isdigit()]
    n = max(taken, default=0) + 1
    while True:
        try:
            (root / f"{env}_{n}").mkdir(parents=True)
            return root / f"{env}_{n}"
        except FileExistsError:  # another run was faster
            n += 1


def _stored(config: RunConfig) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(config).items() if key not in ("resume", "folder")}


def _stored_generations(folder: Path) -> int:
    return int(yaml.safe_load((folder / "config.yml").read_text())["config"]["generations"])


def _wandb_run(algorithm: str, config: RunConfig, folder: Path) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise ValueError("--track needs Weights & Biases: pip install 'spikegym[wandb]'.") from error
    name = f"{config.env}__{algorithm}__{folder.name.rsplit('_', 1)[-1]}"
    return wandb.init(project="spikegym", name=name, config=_stored(config), dir=str(folder))
