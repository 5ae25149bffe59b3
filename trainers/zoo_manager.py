"""How rl_zoo3 trains an evolution algorithm."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

from rl_zoo3.exp_manager import ExperimentManager
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    ProgressBarCallback,
)
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecTransposeImage

from envs.brax.tasks import find_task
from trainers.config import CONFIGS, constructor_arguments, defaults, from_dict
from trainers.make_env import make_vec_env

UNLIMITED = 10**12
"""Environment steps of a run that its generations end."""


class EvolutionManager(ExperimentManager):
    """Reads our files of hyper-parameters, plays Brax in one jitted program, and counts environment steps where callbacks of
    rl_zoo3 would count generations.

    The run ends after `generations` of the file or `n_timesteps`, whichever comes first; `-n` replaces both.
    """

    def setup_experiment(self) -> Any:
        if self.optimize_hyperparameters:
            raise ValueError(f"rl_zoo3 cannot optimize {self.algo}; use python -m trainers.sweep {self.algo}.")
        return super().setup_experiment()

    def read_hyperparameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
        if not Path(self.config).is_file():
            raise ValueError(f"There is no file '{self.config}' of hyper-parameters; name one with --conf-file.")
        custom = self.custom_hyperparams or {}
        config = defaults(self.algo, self.env_name.gym_id, custom.get("policy"), Path(self.config))
        config = from_dict(CONFIGS[self.algo], dataclasses.asdict(config) | custom, "--hyperparams")
        if config.variants:
            raise ValueError(f"rl_zoo3 knows no variants; use python -m trainers.{self.algo}, or variants:None.")
        if config.vec_env == "subproc":
            self.vec_env_class = SubprocVecEnv
        self.generations = config.generations if self.n_timesteps <= 0 else None
        others = {"policy": config.policy, "n_envs": config.n_envs, "n_timesteps": config.n_timesteps or UNLIMITED}
        ours = {name: value for name, value in constructor_arguments(config).items() if name not in ("seed", "vec_env")}
        hyperparams = {name: value for name, value in (ours | others).items() if name != "variants"}
        hyperparams["env_kwargs"] = hyperparams["env_kwargs"] | self.env_kwargs
        if self._eval_env_kwargs_args is None:
            self.eval_env_kwargs = hyperparams["env_kwargs"]
        return hyperparams, dict(sorted(hyperparams.items()))

    @staticmethod
    def _preprocess_schedules(hyperparams: dict[str, Any]) -> dict[str, Any]:
        """Our algorithms read schedules themselves."""
        return hyperparams

    def create_envs(self, n_envs: int, eval_env: bool = False, no_log: bool = False) -> VecEnv:
        plain = not (self.env_wrapper or self.vec_env_wrapper or self.frame_stack or self.normalize)
        if find_task(self.env_name.gym_id) is not None and plain and not eval_env:
            return make_vec_env(self.env_name.gym_id, n_envs, self.seed, self.env_kwargs)
        venv = super().create_envs(n_envs, eval_env, no_log)
        return venv.venv if isinstance(venv, VecTransposeImage) else venv  # our networks see images as they come

    def create_callbacks(self) -> None:
        frequencies: dict[type, int] = {EvalCallback: self.eval_freq, CheckpointCallback: self.save_freq}
        self.eval_freq, self.save_freq = min(self.eval_freq, 1), min(self.save_freq, 1)
        super().create_callbacks()
        self.callbacks = [self._counting_steps(callback, frequencies) for callback in self.callbacks]

    def _counting_steps(self, callback: BaseCallback, frequencies: dict[type, int]) -> BaseCallback:
        if isinstance(callback, ProgressBarCallback):
            return StepsBar()
        return EveryNTimesteps(frequencies[type(callback)], callback) if type(callback) in frequencies else callback

    def learn(self, model: Any) -> None:
        model.learn = functools.partial(model.learn, generations=self.generations)
        super().learn(model)


class StepsBar(ProgressBarCallback):
    """rl_zoo3's progress bar, by the steps that were taken."""

    def _on_step(self) -> bool:
        self.pbar.update(self.num_timesteps - self.pbar.n)
        return True
