"""Train the policy that acts while a dataset is collected."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from gymnasium import spaces
from stable_baselines3 import DDPG, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.noise import NormalActionNoise

from policies.names import choose
from trainers.checkpoint import replacing, write_atomically
from trainers.make_env import find_env_id, make_vec_env, versions
from trainers.offline.config import BehaviorConfig, zoo
from trainers.progress import Interruption
from trainers.run import new_folder

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"td3": TD3, "ddpg": DDPG, "sac": SAC}


class Stopping(BaseCallback):
    """Ends the training after Ctrl-C."""

    def __init__(self, interruption: Interruption) -> None:
        super().__init__()
        self.interruption = interruption

    def _on_step(self) -> bool:
        return not self.interruption.requested


class KeepBest(BaseCallback):
    """Writes the model when it is the best so far."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def _on_step(self) -> bool:
        save(self.model, self.path)
        return True


def save(model: BaseAlgorithm, path: Path) -> None:
    """Write a model of Stable-Baselines3 at once or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        model.save(file)


def train_behavior(config: BehaviorConfig, folder: Path | None = None) -> tuple[Path, bool]:
    """The run's folder, which holds best_model.zip, model.zip and the evaluations, and whether Ctrl-C ended it early."""
    cls = choose("algo", config.algo, ALGORITHMS)
    env_id = find_env_id(config.env)
    table = zoo()["behavior"][config.algo]
    settings = dict(table.get(env_id, table["default"]))
    steps = config.n_timesteps or settings["n_timesteps"]
    settings.pop("n_timesteps")
    noise_std = settings.pop("noise_std", None)
    env = make_vec_env(env_id, 1, config.seed, config.env_kwargs)
    if not isinstance(env.action_space, spaces.Box):
        raise ValueError(f"{env_id} has actions in {env.action_space}; the offline algorithms need a Box.")
    if noise_std is not None:
        size = env.action_space.shape
        settings["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, noise_std))
    if folder is None:
        folder = new_folder(Path(config.log_folder) / "behavior", f"{config.algo}_{env_id}")
    folder.mkdir(parents=True, exist_ok=True)
    header = {"algorithm": config.algo, "config": dataclasses.asdict(config) | {"env": env_id}, "versions": versions()}
    write_atomically(folder / "config.yml", yaml.safe_dump(header, sort_keys=False).encode())
    model: Any = cls("MlpPolicy", env, seed=config.seed, device=config.device, **settings)
    model.set_logger(configure(str(folder), ["csv", "tensorboard"]))
    eval_env = make_vec_env(env_id, config.eval_episodes, config.seed + 100, config.env_kwargs)
    print(f"{cls.__name__} on {env_id}, {steps:,} steps -> {folder}")
    with Interruption() as interruption:
        evaluation = EvalCallback(
            eval_env,
            callback_on_new_best=KeepBest(folder / "best_model.zip"),
            n_eval_episodes=config.eval_episodes,
            eval_freq=config.eval_every or max(1, steps // 20),
            log_path=str(folder),
            verbose=0,
        )
        model.learn(steps, CallbackList([evaluation, Stopping(interruption)]), progress_bar=config.progress)
    save(model, folder / "model.zip")
    best = evaluation.best_mean_reward
    print(
        f"Best evaluation {best:.1f}: {folder / 'best_model.zip'}" if np.isfinite(best) else f"Model: {folder / 'model.zip'}"
    )
    return folder, interruption.requested


def find_policy(path: Path) -> tuple[Path, dict[str, Any]]:
    """The zip of a behaviour, its best model where there is one, and the config of its run ({} for a bare zip)."""
    if not path.exists():
        raise ValueError(f"There is no '{path}'; give the folder of a behavior run, or the zip of a model.")
    if not path.is_dir():
        return path, {}
    files = [path / name for name in ("best_model.zip", "model.zip") if (path / name).is_file()]
    if not files or not (path / "config.yml").is_file():
        raise ValueError(f"'{path}' is not a run of `python -m trainers.offline behavior`: it holds no model.")
    return files[0], yaml.safe_load((path / "config.yml").read_text())["config"]
