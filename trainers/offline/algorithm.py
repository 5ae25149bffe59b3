"""Learning from a dataset alone, behind Stable-Baselines3's interface."""

import time
from abc import abstractmethod
from collections import defaultdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import configure_logger
from torch import Tensor, nn
from tqdm import tqdm

from policies.sb3.features import NormalizingExtractor
from trainers import checkpoint
from trainers.make_env import make_vec_env
from trainers.model_file import check_writer, space_from_json, space_to_json, with_suffix
from trainers.offline.dataset import Batch, OfflineDataset, Sampler
from trainers.progress import Interruption, log_row
from trainers.torch_state import load_module, load_optimizer, module_arrays, optimizer_arrays


class OfflineAlgorithm(BaseAlgorithm):
    """An algorithm that learns from a dataset by `learn(gradient_steps)`; the environment is for evaluation alone.

    Everything random in a gradient step comes from (seed, number of the step): a saved model goes on exactly
    (under the same `gradient_steps`, where a learning rate depends on what remains), and evaluations change nothing.

    `num_timesteps` counts gradient steps, so that callbacks such as EvalCallback do too. `history` holds a row of metrics
    for every `log_every` of them.

    :param policy: "MlpPolicy" or "SpikingPolicy"
    :param env: to evaluate in: an id, an environment, or a VecEnv; None: never evaluated
    :param dataset: what to learn from; None for a model that only acts
    :param learning_rate: of all networks, a number or a function of what remains of the training, from 1 to 0
    :param batch_size: transitions in a gradient step
    :param gamma: discount
    :param tau: how far target networks move towards the learned ones in a step
    :param normalize_obs: subtract the dataset's mean from observations and divide by its standard deviation
    :param log_every: gradient steps between rows of metrics
    :param eval_every: gradient steps between evaluations, a multiple of `log_every`; 0 for none
    :param eval_episodes: episodes of an evaluation, which start alike every time
    :param env_kwargs: options of the environment
    """

    optimizers: tuple[str, ...]
    """Parts of the policy that have an optimiser."""

    def __init__(
        self,
        policy: Any = "MlpPolicy",
        env: Any = None,
        dataset: OfflineDataset | None = None,
        learning_rate: Any = 1e-3,
        batch_size: int = 100,
        gamma: float = 0.99,
        tau: float = 0.005,
        normalize_obs: bool = True,
        log_every: int = 1000,
        eval_every: int = 0,
        eval_episodes: int = 10,
        env_kwargs: dict[str, Any] | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int = 0,
        device: str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("log_every", log_every, 1),
            ("eval_episodes", eval_episodes, 1),
        ):
            if value < least:
                raise ValueError(f"{name}={value} must be at least {least}.")
        if eval_every < 0 or eval_every % log_every:
            raise ValueError(f"eval_every={eval_every} must be a multiple of log_every={log_every}, or 0.")
        if eval_every and env is None:
            raise ValueError("eval_every needs an environment to evaluate in; give env, or eval_every=0.")
        if not 0 <= gamma <= 1 or not 0 < tau <= 1:
            raise ValueError(f"gamma={gamma} must be in [0, 1] and tau={tau} in (0, 1].")
        venv = None if env is None else make_vec_env(env, eval_episodes, seed, env_kwargs or {})
        super().__init__(
            policy,
            venv,
            learning_rate,
            policy_kwargs,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
        )
        self.policy_name = policy if isinstance(policy, str) else policy.__name__
        self.dataset = dataset
        self.batch_size, self.gamma, self.tau = batch_size, gamma, tau
        self.normalize_obs = normalize_obs
        self.log_every, self.eval_every, self.eval_episodes = log_every, eval_every, eval_episodes
        self.env_kwargs = env_kwargs or {}
        self.history: list[dict[str, float]] = []
        self.best_mean_reward, self.is_best, self.interrupted = -np.inf, False, False
        if dataset is not None:
            if venv is not None:
                dataset.check_spaces(venv.observation_space, venv.action_space, str(env))
            self.observation_space, self.action_space = dataset.observation_space, dataset.action_space
        if _init_setup_model:
            if dataset is None:
                raise ValueError(f"{type(self).__name__} learns from a dataset; give dataset=load_dataset(...).")
            self._setup_model()
            self._normalize(*dataset.moments())

    def arguments(self) -> dict[str, Any]:
        """What the constructor was given, as a model's file keeps it."""
        names = ("learning_rate", "batch_size", "gamma", "tau", "normalize_obs", "log_every", "eval_every", "eval_episodes")
        return {name: getattr(self, name) for name in (*names, "env_kwargs", "policy_kwargs", "seed")}

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        features = {"features_extractor_class": NormalizingExtractor}
        self.policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **(features | self.policy_kwargs)
        ).to(self.device)
        self._sampler: Sampler | None = None

    def _normalize(self, mean: np.ndarray, std: np.ndarray) -> None:
        """Give all networks the dataset's statistics."""
        if self.normalize_obs:
            for module in self.policy.modules():
                if isinstance(module, NormalizingExtractor):
                    module.mean.copy_(torch.as_tensor(mean))
                    module.std.copy_(torch.as_tensor(std))

    @abstractmethod
    def _update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step; scalars to log by tag."""

    def learn(
        self,
        gradient_steps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Take gradient steps until this model has taken `gradient_steps` (or as many more, with `reset_num_timesteps`).

        Ctrl-C ends it after the step; a second one interrupts at once.

        :param log_interval: rows of metrics between entries of the logger
        """
        if gradient_steps < 1:
            raise ValueError(f"gradient_steps={gradient_steps} must be at least 1.")
        if self.dataset is None:
            raise ValueError("There is no dataset to learn from; load the model with dataset=...")
        if reset_num_timesteps:
            self.num_timesteps, self.history = 0, []
        self._total_timesteps = gradient_steps
        if not self._custom_logger:
            self._logger = configure_logger(self.verbose, self.tensorboard_log, tb_log_name, reset_num_timesteps)
        self._sampler = self._sampler or Sampler(self.dataset, self.batch_size, self.device)
        callback = self._init_callback(callback)
        callback.on_training_start(locals(), globals())
        bar = tqdm(total=gradient_steps, initial=self.num_timesteps, unit="step", disable=not progress_bar, dynamic_ncols=True)
        with Interruption() as interruption, bar:
            while self.num_timesteps < gradient_steps and not interruption.requested:
                row = self._learn_row(gradient_steps, callback, interruption)
                if row is None:
                    break
                log_row(self.logger, row, self.num_timesteps, len(self.history) % log_interval == 0)
                bar.set_postfix_str(
                    f"return {row['eval/mean_reward']:.1f}" if "eval/mean_reward" in row else "", refresh=False
                )
                bar.update(self.num_timesteps - bar.n)
                callback.update_locals(locals())
                callback.on_rollout_end()
        self.interrupted = interruption.requested and self.num_timesteps < gradient_steps
        callback.on_training_end()
        return self

    def _learn_row(self, gradient_steps: int, callback: Any, interruption: Interruption) -> dict[str, float] | None:
        """Steps up to the next row of metrics; None when a callback ended it."""
        began, sums, steps = time.perf_counter(), defaultdict[str, Any](float), 0
        assert self._sampler is not None
        self.policy.set_training_mode(True)
        while not steps or self.num_timesteps % self.log_every:
            self._current_progress_remaining = 1.0 - self.num_timesteps / gradient_steps
            self._set_rates()
            torch.manual_seed(int(np.random.SeedSequence([int(self.seed or 0), self.num_timesteps]).generate_state(1)[0]))
            for name, value in self._update(self._sampler.draw()).items():
                sums[name] += value
            self.num_timesteps += 1
            steps += 1
            if not callback.on_step():
                return None
            if self.num_timesteps == gradient_steps or interruption.requested:
                break
        row: dict[str, float] = {"time/total_timesteps": self.num_timesteps}
        row |= {name: float(value) / steps for name, value in sums.items()}
        seconds = time.perf_counter() - began
        if self.eval_every and (self.num_timesteps % self.eval_every == 0 or self.num_timesteps == gradient_steps):
            row |= self._evaluate()
        row["time/seconds"], row["time/fps"] = seconds, int(steps / seconds)
        self.history.append(row)
        return row

    def _evaluate(self) -> dict[str, float]:
        returns = self.evaluate(self.eval_episodes, int(self.seed or 0) + 100)
        self.is_best = returns.mean() > self.best_mean_reward
        self.best_mean_reward = max(self.best_mean_reward, float(returns.mean()))
        return {"eval/mean_reward": float(returns.mean()), "eval/std_reward": float(returns.std())}

    def evaluate(self, episodes: int, seed: int) -> np.ndarray:
        """Returns of episodes on start states of this seed, (episodes,)."""
        if self.env is None:
            raise ValueError("There is no environment to evaluate in; load the model with env=...")
        self.env.seed(seed)
        returns, _ = evaluate_policy(self, self.env, episodes, return_episode_rewards=True, warn=False)
        return np.asarray(returns)

    def _set_rates(self) -> None:
        """Write the current learning rates into all optimisers."""
        for name in self.optimizers:
            for group in self._optimizer(name).param_groups:
                group["lr"] = self._rate(name)

    def _rate(self, name: str) -> float:
        """Current learning rate of a part of the policy."""
        return float(self.lr_schedule(self._current_progress_remaining))

    def _optimizer(self, name: str) -> torch.optim.Optimizer:
        return getattr(self.policy, name).optimizer

    def _step(self, name: str, loss: Tensor) -> None:
        """Move a part of the policy down the gradient of its loss."""
        optimizer = self._optimizer(name)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def _move_target(self, module: nn.Module, target: nn.Module) -> None:
        """Polyak averages of the parameters; there is no other state."""
        with torch.no_grad():
            torch._foreach_lerp_(list(target.parameters()), list(module.parameters()), self.tau)

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """Write everything but the dataset to one zip of safetensors and JSON (".zip" is added)."""
        del exclude, include
        arrays = module_arrays(self.policy, "policy")
        for name in self.optimizers:
            arrays |= optimizer_arrays(self._optimizer(name), f"optimizer/{name}")
        meta = {
            "algorithm": type(self).__name__,
            "policy": self.policy_name,
            "arguments": self.arguments(),
            "observation_space": space_to_json(self.observation_space),
            "action_space": space_to_json(self.action_space),
            "num_timesteps": self.num_timesteps,
            "best_mean_reward": self.best_mean_reward if np.isfinite(self.best_mean_reward) else None,
            "history": self.history,
            "state": self._own_state(),
        }
        checkpoint.save(with_suffix(path), arrays, meta)

    def _own_state(self) -> dict[str, Any]:
        """What an algorithm remembers besides its networks, in JSON."""
        return {}

    @classmethod
    def load(  # type: ignore[override]
        cls, path: Any, env: Any = None, device: str = "auto", custom_objects: Any = None, dataset: Any = None, **kwargs: Any
    ) -> Self:
        """Read a model written by `save`; with `dataset` it can go on learning, with `env` be evaluated.

        :param custom_objects: for what is unpickled in other algorithms' files; here nothing is
        :param kwargs: override arguments that were saved
        """
        del custom_objects
        arrays, meta = checkpoint.load(with_suffix(Path(path)))
        check_writer(meta, cls, path)
        arguments = meta["arguments"] | ({} if env is not None else {"eval_every": 0}) | kwargs
        model = cls(meta["policy"], env, dataset, device=device, _init_setup_model=False, **arguments)
        model.observation_space = space_from_json(meta["observation_space"])
        model.action_space = space_from_json(meta["action_space"])
        if dataset is not None:
            dataset.check_spaces(model.observation_space, model.action_space, f"'{path}'")
        model._setup_model()
        load_module(model.policy, arrays, path, "policy")
        for name in model.optimizers:
            load_optimizer(model._optimizer(name), arrays, f"optimizer/{name}")
        model.num_timesteps, model.history = meta["num_timesteps"], meta["history"]
        model.best_mean_reward = -np.inf if meta["best_mean_reward"] is None else meta["best_mean_reward"]
        model._restore(meta["state"])
        return model

    def _restore(self, state: dict[str, Any]) -> None:
        """Undo `_own_state`."""
