"""Models of Stable-Baselines3 from the files it saves, together with their environment."""

import re
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from gymnasium import registry
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from policies.names import choose
from policies.sb3.register import POLICIES
from trainers.make_env import find_env_id, make_vec_env
from trainers.spiking_td3 import SpikingTD3

TYPES: list[type[BaseAlgorithm]] = [*POLICIES, SpikingTD3]
ALGORITHMS = {cls.__name__.lower(): cls for cls in TYPES}


def load_model(
    path: Path,
    env: str | None,
    algo: str | None,
    n_envs: int,
    seed: int,
    env_kwargs: dict[str, Any],
    vec_normalize: str | None = None,
) -> tuple[BaseAlgorithm, str, VecEnv]:
    """The model, the id of its environment, and `n_envs` of these, which the model has.

    :param path: the zip; like every file of Stable-Baselines3, it can run code when it is read
    :param env: id; None: `path` lies in a folder that rl_zoo3 named after it
    :param algo: None: an algorithm that knows the policy, if it is one of ours
    :param vec_normalize: file of statistics; None: the one in rl_zoo3's folder, if it is there
    """
    cls = find_algorithm(path) if algo is None else choose("algorithm", algo.lower(), ALGORITHMS)
    home = env_of_folder(path)
    if env is None and home is None:
        raise ValueError(f"'{path}' does not tell its environment; give env, such as HalfCheetah-v5.")
    env_id = find_env_id(env or home or "")
    venv = make_vec_env(env_id, n_envs, seed, env_kwargs)
    statistics = Path(vec_normalize) if vec_normalize else path.parent / (home or env_id) / "vecnormalize.pkl"
    if vec_normalize and not statistics.is_file():
        raise ValueError(f"There is no file '{statistics}' of VecNormalize.")
    if statistics.is_file():
        venv = VecNormalize.load(str(statistics), venv)
        venv.training = venv.norm_reward = False
    # Nothing is learned here, and a replay buffer of images takes gigabytes.
    return cls.load(path, venv, custom_objects={"buffer_size": 1}), env_id, venv


def find_algorithm(path: Path) -> type[BaseAlgorithm]:
    """An algorithm that can load the model. A2C's and TRPO's are loaded as PPO's and DDPG's as TD3's where their policies are
    the same."""
    try:
        with ZipFile(path) as file:
            ours = {"data", "policy.pth"} <= set(file.namelist())
    except BadZipFile:
        ours = False
    if not ours:
        raise ValueError(f"'{path}' is not a model of Stable-Baselines3; of an evolution run give the folder.")
    data, _, _ = load_from_zip_file(path)
    if data and "proxy_updates" in data:
        return SpikingTD3
    policy = data["policy_class"] if data else None
    for algorithm in POLICIES:
        if policy in algorithm.policy_aliases.values():
            return algorithm
    raise ValueError(f"'{path}' does not tell its algorithm; give algo, one of {', '.join(ALGORITHMS)}.")


def env_of_folder(path: Path) -> str | None:
    """The environment after which rl_zoo3 named the model's folder, such as HalfCheetah-v5_1; None if it did not."""
    env_id = re.sub(r"_\d+$", "", path.resolve().parent.name)
    return env_id if env_id in registry else None
