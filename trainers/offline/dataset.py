"""Transitions to learn from: those of a Minari dataset or of a replay buffer, as flat arrays."""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.save_util import load_from_pkl
from torch import Tensor

from policies.names import nearest

INSTALL = "pip install 'spikegym[offline]'"


class Batch(NamedTuple):
    """Transitions; actions are in [-1, 1], as networks give them."""

    observations: Tensor  # (B, S)
    actions: Tensor  # (B, A)
    next_observations: Tensor  # (B, S)
    rewards: Tensor  # (B, 1)
    not_done: Tensor  # (B, 1); 0 where the episode terminated, so that a time limit is no end


@dataclass(frozen=True)
class OfflineDataset:
    """N transitions, checked.

    Raises ValueError, saying where, when there are none, when shapes or spaces do not agree, or when a number is not finite.

    :param observations: (N, S) float32
    :param actions: (N, A) float32, in the units of the environment
    :param rewards: (N,) float32
    :param next_observations: (N, S) float32: what followed, in the same episode
    :param terminations: (N,) bool: where the episode ended by itself; a time limit is not one
    :param ends: (N,) bool: the last transitions of episodes, however these ended
    :param metadata: where they come from; `random_return` and `behavior_return`, where known, are the mean returns of
        uniformly random actions and of the policy that acted
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    terminations: np.ndarray
    ends: np.ndarray
    observation_space: spaces.Box
    action_space: spaces.Box
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = self.metadata.get("dataset", "The dataset")
        _check_vectors(name, self.observation_space, self.action_space)
        if not len(self.rewards):
            raise ValueError(f"{name} is empty: it has no transitions. Collect some first.")
        n, shapes = len(self.rewards), {"observations": self.observation_space.shape, "actions": self.action_space.shape}
        shapes["next_observations"] = shapes["observations"]
        for what in ("observations", "actions", "rewards", "next_observations", "terminations", "ends"):
            array = getattr(self, what)
            if array.shape != (n, *shapes.get(what, ())):
                raise ValueError(f"{name} has {what} of shape {array.shape}, but must have {(n, *shapes.get(what, ()))}.")
            bad = np.flatnonzero(~np.isfinite(array).reshape(n, -1).all(axis=1))
            if len(bad):
                raise ValueError(f"{name}: {what} of {len(bad)} transitions are not finite, the first is number {bad[0]}.")
        if not np.isfinite([self.action_space.low, self.action_space.high]).all():
            raise ValueError(f"{name} has actions in {self.action_space}; bounds must be finite.")

    def __len__(self) -> int:
        return len(self.rewards)

    @functools.cached_property
    def episode_returns(self) -> np.ndarray:
        """Returns of the whole episodes, those that are cut off at the end of the dataset left out."""
        stops = np.flatnonzero(self.ends) + 1
        sums = np.concatenate([[0.0], np.cumsum(self.rewards, dtype=np.float64)])
        return np.diff(sums[np.concatenate([[0], stops])])

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the observations, (S,) each; 1 for a feature that never changes."""
        std = self.observations.std(axis=0, dtype=np.float64)
        return self.observations.mean(axis=0, dtype=np.float64).astype(np.float32), np.where(std > 1e-6, std, 1.0).astype(
            np.float32
        )

    def check_spaces(self, observation_space: spaces.Space, action_space: spaces.Space, env: str) -> None:
        """ValueError unless an environment's spaces are those of the dataset."""
        for what, own, other in (
            ("observations", self.observation_space, observation_space),
            ("actions", self.action_space, action_space),
        ):
            same = isinstance(other, spaces.Box) and own.shape == other.shape
            if not same or (what == "actions" and not _same_bounds(own, other)):  # type: ignore[arg-type]
                raise ValueError(
                    f"{self.metadata.get('dataset', 'The dataset')} has {what} in {own}, but {env} in {other}; "
                    "choose a dataset of this environment."
                )


class Sampler:
    """Uniformly drawn batches; all of a transition lies in one row, so that a batch is one read.

    :param batch_size: transitions a batch
    """

    def __init__(self, dataset: OfflineDataset, batch_size: int, device: torch.device) -> None:
        low, high = dataset.action_space.low, dataset.action_space.high
        scaled = 2.0 * (dataset.actions - low) / (high - low) - 1.0
        columns = [
            dataset.observations,
            np.clip(scaled, -1.0, 1.0),
            dataset.next_observations,
            dataset.rewards[:, None],
            1.0 - dataset.terminations[:, None],
        ]
        self.sizes = [column.shape[1] for column in columns]
        self.rows = torch.from_numpy(np.concatenate(columns, axis=1, dtype=np.float32)).to(device)
        self.batch_size = batch_size

    def draw(self) -> Batch:
        """The next batch, by torch's global generator."""
        index = torch.randint(len(self.rows), (self.batch_size,), device=self.rows.device)
        return Batch(*self.rows[index].split(self.sizes, dim=1))


def load_dataset(name: str, trust_pickle: bool = False) -> OfflineDataset:
    """A Minari dataset by its id, or a replay buffer that Stable-Baselines3 saved, by its path.

    :param trust_pickle: read replay buffers, which are pickles and can run code
    """
    if name.endswith(".pkl"):
        if not trust_pickle:
            raise ValueError(
                f"'{name}' is a pickle, which can run code when it is read; if it is your own, add --trust-pickle."
            )
        if not Path(name).is_file():
            raise ValueError(f"There is no file '{name}'.")
        buffer = load_from_pkl(name)
        if not isinstance(buffer, ReplayBuffer):
            raise ValueError(f"'{name}' holds a {type(buffer).__name__}, not a ReplayBuffer of Stable-Baselines3.")
        return from_replay_buffer(buffer, name)
    return from_minari(name)


def from_minari(dataset_id: str) -> OfflineDataset:
    """All episodes of a local Minari dataset.

    An episode has one observation more than actions, so that what followed an action is the next row. Episodes of
    observations or actions that are not vectors of numbers are refused.
    """
    minari = import_minari()
    try:
        dataset = minari.load_dataset(dataset_id)
    except (FileNotFoundError, TypeError, ValueError, AttributeError) as error:
        known = list(minari.list_local_datasets())
        hint = nearest(dataset_id, known) if known else "There are none yet: python -m trainers.offline collect makes one."
        raise ValueError(f"There is no Minari dataset '{dataset_id}' here. {hint}") from error
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("obs", "actions", "rewards", "next", "term", "ends")}
    _check_vectors(dataset_id, dataset.observation_space, dataset.action_space)
    try:
        for episode in dataset.iterate_episodes():
            length = len(episode.rewards)
            if (len(episode.observations), len(episode.actions)) != (length + 1, length):
                raise ValueError(
                    f"{dataset_id} is truncated: episode {episode.id} has {len(episode.observations)} observations and "
                    f"{len(episode.actions)} actions for {length} rewards."
                )
            columns["obs"].append(episode.observations[:-1])
            columns["next"].append(episode.observations[1:])
            columns["actions"].append(episode.actions)
            columns["rewards"].append(episode.rewards)
            columns["term"].append(episode.terminations)
            columns["ends"].append(np.arange(length) == length - 1)
    except (OSError, KeyError) as error:
        raise ValueError(f"{dataset_id} is truncated or damaged: {error}") from error
    if not columns["obs"]:
        raise ValueError(f"{dataset_id} is empty: it has no episodes. Collect some first.")
    arrays = {name: np.concatenate(parts) for name, parts in columns.items()}
    return OfflineDataset(
        arrays["obs"].astype(np.float32),
        arrays["actions"].astype(np.float32),
        arrays["rewards"].astype(np.float32),
        arrays["next"].astype(np.float32),
        arrays["term"].astype(bool),
        arrays["ends"],
        dataset.observation_space,
        dataset.action_space,
        _references(dataset_id, dataset),
    )


def metadata_of(name: str) -> dict[str, Any]:
    """What is known of a dataset without reading it: its name, and its two reference returns where it has them."""
    if name.endswith(".pkl"):
        return {"dataset": name}
    return _references(name, import_minari().load_dataset(name))


def from_replay_buffer(buffer: ReplayBuffer, name: str = "The replay buffer") -> OfflineDataset:
    """What a replay buffer of Stable-Baselines3 holds, the oldest first, environment by environment; its actions, which are
    in [-1, 1], are scaled back. Ends at a time limit are known as such where the buffer handles timeouts."""
    if not isinstance(buffer.action_space, spaces.Box) or not isinstance(buffer.observation_space, spaces.Box):
        raise ValueError(f"{name} has spaces {buffer.observation_space} and {buffer.action_space}; both must be a Box.")
    steps = np.arange(buffer.pos)
    if buffer.full:  # the transition before the oldest has lost what followed it when observations are shared
        steps = (buffer.pos + np.arange(int(buffer.optimize_memory_usage), buffer.buffer_size)) % buffer.buffer_size
    following = (steps + 1) % buffer.buffer_size

    def column(array: np.ndarray, at: np.ndarray = steps) -> np.ndarray:
        return np.swapaxes(array[at], 0, 1).reshape(-1, *array.shape[2:]).astype(np.float32)

    shared = buffer.optimize_memory_usage
    next_observations = column(buffer.observations, following) if shared else column(buffer.next_observations)
    dones, timeouts = column(buffer.dones).astype(bool), column(buffer.timeouts).astype(bool)
    low, high = buffer.action_space.low, buffer.action_space.high
    actions = low + 0.5 * (column(buffer.actions) + 1.0) * (high - low)
    return OfflineDataset(
        column(buffer.observations),
        actions,
        column(buffer.rewards),
        next_observations,
        dones & ~timeouts,
        dones,
        buffer.observation_space,
        buffer.action_space,
        {"dataset": name},
    )


def import_minari() -> Any:
    """The package, or ValueError with the command that installs it."""
    try:
        import minari
    except ImportError as error:
        raise ValueError(f"{error}: datasets are kept by Minari; {INSTALL}.") from error
    return minari


def _references(name: str, dataset: Any) -> dict[str, Any]:
    """Metadata of an `OfflineDataset` that a Minari dataset has."""
    stored = dataset.storage.metadata
    return {"dataset": name, "random_return": stored.get("ref_min_score"), "behavior_return": stored.get("ref_max_score")}


def _check_vectors(name: str, observation_space: spaces.Space, action_space: spaces.Space) -> None:
    for what, space in (("observations", observation_space), ("actions", action_space)):
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise ValueError(f"{name} has {what} in {space}; offline learning takes vectors (a Box with one axis).")


def _same_bounds(a: spaces.Box, b: spaces.Box) -> bool:
    return np.allclose(a.low, b.low) and np.allclose(a.high, b.high)
