"""Play a policy, with noise, and keep what happens as a Minari dataset.

Episodes go to disk in parts while they are played, each part whole or not there. Everything random in an episode comes from
the seed and the episode's number, so that a collection that was killed goes on where the last part ends and gives the dataset
that it would have given.
"""

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from tqdm import tqdm

from trainers.checkpoint import replacing, write_atomically
from trainers.make_env import versions
from trainers.offline.behavior import find_policy
from trainers.offline.config import CollectConfig
from trainers.offline.dataset import import_minari
from trainers.progress import INTERRUPTED, Interruption
from trainers.sb3_model import load_model

PART_STEPS = 10_000
"""A part is written when it holds so many steps: what a kill may cost, and what lies in memory."""


class Exploration(NamedTuple):
    """How far the player departs from the policy (the published values are 0.3 and 0.3).

    :param noise: standard deviation of the Gaussian noise, as a multiple of half the actions' range
    :param random_action: probability, per step, of a uniformly random action
    """

    noise: float
    random_action: float


class Episode(NamedTuple):
    """L steps and the L + 1 observations around them."""

    number: int
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminations: np.ndarray
    truncations: np.ndarray


def play_episode(
    env: gymnasium.Env[Any, Any],
    act: Callable[[np.ndarray], np.ndarray] | None,
    exploration: Exploration,
    seed: int,
    number: int,
    limit: int | None = None,
) -> Episode:
    """One episode, cut after `limit` steps; `act` None: all actions are random."""
    assert isinstance(env.action_space, spaces.Box)
    low, high = env.action_space.low, env.action_space.high
    reset_seed, noise_seed = np.random.SeedSequence([seed, number]).generate_state(2)
    rng = np.random.default_rng(noise_seed)
    obs, _ = env.reset(seed=int(reset_seed) >> 1)
    observations, actions = [obs], []
    rewards: list[float] = []
    terminated = truncated = False
    while not (terminated or truncated or len(rewards) == limit):
        chance = rng.random()
        if act is None or chance < exploration.random_action:
            action = rng.uniform(low, high).astype(np.float32)
        else:
            action = act(obs)
            if exploration.noise:
                noise = rng.normal(0.0, exploration.noise, action.shape) * 0.5 * (high - low)
                action = np.clip(action + noise, low, high).astype(np.float32)
        obs, reward, terminated, truncated, _ = env.step(action)
        observations.append(obs)
        actions.append(action)
        rewards.append(float(reward))
    ends = np.zeros((2, len(rewards)), bool)
    ends[:, -1] = terminated, not terminated
    return Episode(number, np.stack(observations), np.stack(actions), np.array(rewards), *ends)


def mean_return(env: gymnasium.Env[Any, Any], act: Any, episodes: int, seed: int) -> float:
    """Of the policy without noise, or of random actions (`act` None), on start states of their own."""
    quiet = Exploration(0.0, 0.0)
    return float(np.mean([play_episode(env, act, quiet, seed + 1_000_003, i).rewards.sum() for i in range(episodes)]))


def acting(model: BaseAlgorithm) -> Callable[[np.ndarray], np.ndarray]:
    """The policy's action for one observation, without the work that `predict` does around it."""
    policy, env = model.policy, model.get_vec_normalize_env()
    policy.set_training_mode(False)

    def act(obs: np.ndarray) -> np.ndarray:
        seen = env.normalize_obs(obs) if env is not None else obs
        with torch.no_grad():
            tensor = torch.as_tensor(seen, dtype=torch.float32, device=policy.device)[None]
            action = policy._predict(tensor, deterministic=True).cpu().numpy()[0]
        return policy.unscale_action(action) if policy.squash_output else np.clip(action, *bounds)

    assert isinstance(model.action_space, spaces.Box)
    bounds = model.action_space.low, model.action_space.high
    return act


def dataset_exists(dataset_id: str) -> bool:
    """Whether Minari has a finished dataset of this id."""
    import_minari()
    from minari.storage.datasets_root_dir import get_dataset_path

    return (Path(get_dataset_path(dataset_id)) / "data").is_dir()


class Collection:
    """A dataset in the making, in a folder beside where it will be.

    :param settings: everything that the data depend on; a folder with others is refused
    """

    def __init__(self, dataset_id: str, settings: dict[str, Any]) -> None:
        import_minari()
        from minari.dataset.minari_dataset import parse_dataset_id
        from minari.storage.datasets_root_dir import get_dataset_path

        try:
            parse_dataset_id(dataset_id)
        except (ValueError, TypeError):
            raise ValueError(f"dataset='{dataset_id}' is no Minari id; it must be like hopper/td3-v0.") from None
        self.dataset_id, self.settings = dataset_id, settings
        self.target = Path(get_dataset_path(dataset_id))
        if self.target.exists():
            raise ValueError(f"There is a dataset '{dataset_id}' already; give --dataset another name or version.")
        self.folder = self.target.with_name(f".{self.target.name}.parts")
        self._claim()
        self.parts = sorted(self.folder.glob("part_*.npz"))
        self.steps = self.episodes = 0
        if self.parts:
            with np.load(self.parts[-1]) as last:
                self.steps, self.episodes = int(last["steps"]), int(last["numbers"][-1]) + 1

    def write(self, episodes: list[Episode]) -> None:
        """Put a part on disk."""
        self.steps += sum(len(e.rewards) for e in episodes)
        self.episodes = episodes[-1].number + 1
        columns = {name: np.concatenate([getattr(e, name) for e in episodes]) for name in Episode._fields[1:]}
        path = self.folder / f"part_{len(self.parts):06d}.npz"
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                steps=np.int64(self.steps),
                numbers=np.array([e.number for e in episodes]),
                lengths=np.array([len(e.rewards) for e in episodes]),
                **columns,  # type: ignore[arg-type]
            )
            file.flush()
            os.fsync(file.fileno())
        self.parts.append(path)

    def read(self) -> Iterator[Episode]:
        """All episodes so far, a part in memory at a time."""
        for path in self.parts:
            with np.load(path) as part:
                data = {name: part[name] for name in part.files}
            ends = np.cumsum(data["lengths"])
            for i, (number, end, length) in enumerate(zip(data["numbers"], ends, data["lengths"], strict=True)):
                rows, seen = slice(end - length, end), slice(end - length + i, end + i + 1)
                yield Episode(
                    int(number),
                    data["observations"][seen],
                    data["actions"][rows],
                    data["rewards"][rows],
                    data["terminations"][rows],
                    data["truncations"][rows],
                )

    def finish(self, env: gymnasium.Env[Any, Any], metadata: dict[str, Any]) -> None:
        """Turn the parts into the Minari dataset, which appears at once and whole."""
        from minari import __version__
        from minari.data_collector import EpisodeBuffer
        from minari.dataset.minari_storage import MinariStorage

        making = self.folder / "dataset"
        shutil.rmtree(making, ignore_errors=True)
        (making / "data").mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            storage = MinariStorage.new(
                making / "data", env.observation_space, env.action_space, env_spec=env.spec, data_format="hdf5"
            )
        storage.update_metadata({"dataset_id": self.dataset_id, "minari_version": __version__} | metadata)
        batch: list[Any] = []
        for episode in self.read():
            batch.append(
                EpisodeBuffer(
                    seed=episode.number,
                    observations=episode.observations,
                    actions=episode.actions,
                    rewards=episode.rewards,
                    terminations=episode.terminations,
                    truncations=episode.truncations,
                )
            )
            if sum(len(e.rewards) for e in batch) >= PART_STEPS:
                storage.update_episodes(batch)
                batch = []
        if batch:
            storage.update_episodes(batch)
        self._create_namespace()
        os.replace(making, self.target)
        shutil.rmtree(self.folder)

    def _claim(self) -> None:
        """Write down what is collected here, or see that it is the same."""
        path = self.folder / "settings.json"
        if not path.is_file():
            write_atomically(path, json.dumps(self.settings, indent=1).encode())
            return
        stored = json.loads(path.read_text())
        for name, value in json.loads(json.dumps(self.settings)).items():
            if stored.get(name) != value:
                raise ValueError(
                    f"A collection of '{self.dataset_id}' was begun with {name} {stored.get(name)}, not {value}; give that "
                    f"again, or another --dataset, or delete '{self.folder}'."
                )

    def _create_namespace(self) -> None:
        """Minari lists only datasets whose namespaces it knows."""
        from minari.dataset.minari_dataset import parse_dataset_id
        from minari.namespace import create_namespace, list_local_namespaces

        namespace = parse_dataset_id(self.dataset_id)[0]
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if namespace is not None and namespace not in list_local_namespaces():
            create_namespace(namespace)


def collect(
    model: BaseAlgorithm,
    env: gymnasium.Env[Any, Any],
    dataset_id: str,
    steps: int,
    exploration: Exploration,
    seed: int = 0,
    reference_episodes: int = 20,
    source: str = "",
    progress: Callable[[int], None] = lambda steps: None,
) -> bool:
    """Exactly `steps` transitions, the last episode cut; False when Ctrl-C ended it before, after what was played was kept.

    :param reference_episodes: by which the mean returns of the policy without noise and of random actions are measured,
        for normalised scores
    :param source: the policy's file, for the metadata
    :param progress: told how many steps there are
    """
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1.")
    if not 0 <= exploration.random_action <= 1 or not exploration.noise >= 0:
        raise ValueError(f"{exploration} must have a noise of at least 0 and a probability from 0 to 1.")
    act = acting(model)
    algorithm, env_id = type(model).__name__, env.spec.id if env.spec else str(env)
    settings = {"env": env_id, "algorithm": algorithm, "policy": source, "seed": seed, "steps": steps}
    settings |= exploration._asdict()
    collection = Collection(dataset_id, settings)
    with Interruption() as interruption:
        while collection.steps < steps and not interruption.requested:
            part: list[Episode] = []
            while sum(len(e.rewards) for e in part) < PART_STEPS and not interruption.requested:
                done = collection.steps + sum(len(e.rewards) for e in part)
                if done >= steps:
                    break
                number = collection.episodes + len(part)
                part.append(play_episode(env, act, exploration, seed, number, steps - done))
                progress(done + len(part[-1].rewards))
            if part:
                collection.write(part)
    if collection.steps < steps:
        return False
    random_return = mean_return(env, None, reference_episodes, seed)
    behavior_return = mean_return(env, act, reference_episodes, seed)
    collection.finish(
        env,
        {
            "algorithm_name": algorithm,
            "description": f"{steps} steps of {algorithm} in {env_id}: Gaussian noise {exploration.noise}, "
            f"uniformly random with probability {exploration.random_action}.",
            "ref_min_score": random_return,
            "ref_max_score": behavior_return,
            "num_episodes_average_score": reference_episodes,
            "collection": json.dumps(settings | {"versions": versions()}),
        },
    )
    return True


def run_collection(config: CollectConfig) -> tuple[str, int]:
    """The `collect` command: the dataset's id, and an exit code."""
    path, run = find_policy(Path(config.policy))
    algo = config.algo or run.get("algo")
    env_kwargs = run.get("env_kwargs", {}) | config.env_kwargs
    model, env_id, venv = load_model(path, config.env or run.get("env"), algo, 1, config.seed, env_kwargs)
    venv.close()
    dataset = config.dataset or f"{env_id}/{(algo or type(model).__name__).lower()}-v0"
    with tqdm(total=config.steps, unit="step", disable=not config.progress, dynamic_ncols=True) as bar:

        def progress(steps: int) -> None:
            bar.update(steps - bar.n)

        env, exploration = gymnasium.make(env_id, **env_kwargs), Exploration(config.noise, config.random_action)
        source = str(config.policy)
        done = collect(model, env, dataset, config.steps, exploration, config.seed, source=source, progress=progress)
    if not done:
        print("Interrupted; what was played is kept. Give the same command again to go on.")
        return dataset, INTERRUPTED
    print(f"Dataset {dataset}: {config.steps:,} transitions.")
    print(f"Next: python -m trainers.offline train --mode acsf --env {env_id} --dataset {dataset}")
    return dataset, 0
