"""One offline run in its folder: config.yml, metrics.csv, TensorBoard, checkpoint, best and last model, learning curve."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import yaml
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from policies.names import choose, unexpected
from trainers import checkpoint
from trainers.checkpoint import CheckpointError, write_atomically
from trainers.make_env import versions
from trainers.offline.algorithm import OfflineAlgorithm
from trainers.offline.bc import BC
from trainers.offline.bcq import BCQ
from trainers.offline.config import TrainConfig, options_of, read_config
from trainers.offline.dataset import OfflineDataset, load_dataset
from trainers.offline.iql import IQL
from trainers.offline.plots import learning_curve
from trainers.offline.td3_bc import TD3BC
from trainers.run import begin_folder
from trainers.tables import write_csv

ALGORITHMS: dict[str, type[OfflineAlgorithm]] = {"bcq": BCQ, "bc": BC, "td3_bc": TD3BC, "iql": IQL}
FILES = {"best": "best_model.zip", "last": "model.zip"}


class RunCallback(BaseCallback):
    """After each row of metrics: metrics.csv, the best model, and every `save_every` steps a checkpoint."""

    def __init__(self, folder: Path, save_every: int) -> None:
        super().__init__()
        self.folder, self.save_every = folder, save_every
        self.saved = 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        model: Any = self.model
        write_csv(self.folder / "metrics.csv", model.history)
        if "eval/mean_reward" in model.history[-1] and model.is_best:
            model.save(self.folder / "best_model.zip")
        if model.num_timesteps - self.saved >= self.save_every:
            model.save(self.folder / "checkpoint.zip")
            self.saved = model.num_timesteps


def train(config: TrainConfig, dataset: OfflineDataset | None = None) -> tuple[Path, bool]:
    """The run's folder, and whether Ctrl-C ended it early.

    :param dataset: the dataset of the config, when it has been read already
    """
    if not config.dataset:
        raise ValueError("What should be learned from? Give --dataset, the id of a Minari dataset or a replay buffer.")
    if config.save_every < 1:
        raise ValueError(f"save_every={config.save_every} must be at least 1.")
    algorithm, policy, arguments, policy_kwargs = options_of(config)
    cls = choose("algorithm", algorithm, ALGORITHMS)
    dataset = dataset or load_dataset(config.dataset, config.trust_pickle)
    if config.resume is None:
        model = build(cls, config, policy, arguments, policy_kwargs, dataset)
        folder = begin_folder(config.folder, Path(config.log_folder) / "offline", f"{config.mode}_{config.env}")
        _write_config(config, folder)
    else:
        folder = Path(config.resume)
        _write_config(config, folder)
        path = folder / "checkpoint.zip"
        if path.is_file():
            model = cls.load(path, config.env, config.device, dataset=dataset)
        else:
            model = build(cls, config, policy, arguments, policy_kwargs, dataset)
    output = TensorBoardOutputFormat(str(folder))
    model.set_logger(Logger(str(folder), [output]))
    returns = dataset.episode_returns
    earned = f" (mean return {returns.mean():.1f})" if len(returns) else ""
    print(f"{config.mode}: {cls.__name__} on {config.dataset}, {len(dataset):,} transitions{earned}, "
          f"{sum(p.numel() for p in model.policy.parameters() if p.requires_grad):,} parameters -> {folder}")  # fmt: skip
    model.learn(
        config.gradient_steps, RunCallback(folder, config.save_every), reset_num_timesteps=False, progress_bar=config.progress
    )
    output.close()
    model.save(folder / "checkpoint.zip")
    if model.interrupted:
        print(f"Interrupted after step {model.num_timesteps}. Go on with: python -m trainers.offline train --resume {folder}")
        return folder, True
    model.save(folder / "model.zip")
    if config.eval_every:
        title = f"{config.mode} on {config.dataset}"
        learning_curve(model.history, dataset.metadata, folder / "learning_curve.png", title)
    print(f"Score it: python -m trainers.offline evaluate {folder}")
    return folder, False


def build(
    cls: type[OfflineAlgorithm],
    config: TrainConfig,
    policy: str,
    arguments: dict[str, Any],
    policy_kwargs: dict[str, Any],
    dataset: OfflineDataset,
) -> OfflineAlgorithm:
    """A new model; ValueError for options that its algorithm or policy does not have."""
    log_every = math.gcd(1000, config.eval_every) if config.eval_every >= 1000 else config.eval_every or 1000
    try:
        return cls(
            policy,
            config.env,
            dataset,
            config.learning_rate,
            config.batch_size,
            log_every=log_every,
            eval_every=config.eval_every,
            eval_episodes=config.eval_episodes,
            env_kwargs=config.env_kwargs,
            policy_kwargs=policy_kwargs,
            seed=config.seed,
            device=config.device,
            **arguments,
        )
    except TypeError as error:
        name = unexpected(error)
        if name is None:
            raise
        raise ValueError(f"{config.mode} has no option '{name}' (of {', '.join((*arguments, *policy_kwargs))}).") from error


def load_run(folder: Path, which: str = "last") -> tuple[TrainConfig, OfflineAlgorithm]:
    """The config of a run and its model, which can act and be evaluated."""
    config = read_config(folder)
    path = folder / choose("model", which, FILES)
    if not path.is_file():
        raise CheckpointError(f"'{folder}' has no {path.name} yet; go on with --resume {folder}.")
    cls = next(cls for cls in ALGORITHMS.values() if cls.__name__ == checkpoint.load(path)[1]["algorithm"])
    return config, cls.load(path, config.env)


def _write_config(config: TrainConfig, folder: Path) -> None:
    values = dataclasses.asdict(config) | {"net_arch": list(config.net_arch), "vae_arch": list(config.vae_arch)}
    stored = {key: value for key, value in values.items() if key not in ("resume", "folder")}
    header = {"algorithm": "offline", "config": stored, "versions": versions()}
    write_atomically(folder / "config.yml", yaml.safe_dump(header, sort_keys=False).encode())
