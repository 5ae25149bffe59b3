"""Policies from the files that training leaves: runs of evolution and models of Stable-Baselines3."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from trainers.run import read_run
from trainers.sb3_model import env_of_folder, load_model


@dataclass(frozen=True)
class Player:
    """A policy with the name that it has in tables and pictures."""

    name: str
    model: BaseAlgorithm

    def state_axis(self, state: tuple[np.ndarray, ...]) -> int:
        """Along which axis of its state's arrays the environments are; those of an LSTM are (layers, n, hidden)."""
        policy = self.model.policy
        if not isinstance(policy, RecurrentActorCriticPolicy):
            return 0
        layers, _, hidden = policy.lstm_hidden_state_shape
        return int(all(x.ndim == 3 and (x.shape[0], x.shape[2]) == (layers, hidden) for x in state))

    def plastic_weights(self, state: Any) -> tuple[np.ndarray, ...]:
        """The arrays of a state that are matrices for each environment, (n, in, out): weights that change as it acts."""
        return tuple(x for x in state if x.ndim == 3) if state and self.state_axis(state) == 0 else ()

    def normalized(self, venv: VecEnv) -> VecEnv:
        """The environments with the statistics of VecNormalize that the model has, if it has some."""
        statistics = self.model.get_vec_normalize_env()
        if statistics is None:
            return venv
        wrapper = copy.deepcopy(statistics)  # without its environments
        wrapper.set_venv(venv)
        return wrapper


def home_env(path: Path, network: str) -> tuple[str, dict[str, Any]] | None:
    """Where a policy was trained: the id, and its options but for damage; None if the file does not tell."""
    if path.is_file():
        env_id = env_of_folder(path)
        return None if env_id is None else (env_id, {})
    _, run, _ = read_run(path, network)
    return run.env, {name: value for name, value in run.env_kwargs.items() if name != "damage"}


def load_player(name: str, path: Path, network: str, env_id: str, env_kwargs: dict[str, Any], venv: VecEnv) -> Player:
    """Read a policy.

    :param network: which network of a run's folder: best, last or initial
    :param venv: of `env_id`, in which it will act; ValueError when its spaces are not the policy's
    """
    model: BaseAlgorithm
    if path.is_file():
        model = load_model(path, env_id, None, 1, 0, env_kwargs)[0]
        return Player(name, model)
    algorithm, _, file = read_run(path, network)
    model = algorithm.load(file)
    for what in ("observation_space", "action_space"):
        own, given = getattr(model, what), getattr(venv, what)
        if own != given:
            raise ValueError(f"'{path}' was trained with the {what.replace('_', ' ')} {own}, but {env_id} has {given}.")
    return Player(name, model)


def split_names(words: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Names and paths from NAME=PATH or PATH; paths without names are called by as many of their last parts as tell them
    apart."""
    split = [_split(word) for word in words]
    for name, path in split:
        if not path.exists():
            raise ValueError(f"There is no model '{path}'; give the folder of a run or a model's zip.")
        if sum(other == path for _, other in split) > 1 and not name:
            raise ValueError(f"'{path}' is given twice; name each, as in a={path}.")
    parts = 1
    while True:
        names = [name or "/".join(path.with_suffix("").parts[-parts:]) for name, path in split]
        if len(set(names)) == len(names):
            return [(name, path) for name, (_, path) in zip(names, split, strict=True)]
        if parts > max(len(path.parts) for _, path in split):
            raise ValueError(f"Two models are both called '{max(names, key=names.count)}'; name them apart.")
        parts += 1


def _split(word: str) -> tuple[str, Path]:
    name, sign, path = word.partition("=")
    return (name, Path(path)) if sign and not Path(word).exists() else ("", Path(word))
