"""`python -m benchmarks.offline`: gradient steps of spiking BCQ beside plain BCQ, reading of batches, and collecting.

Sizes are the published ones: ANN 400-300, ACSF 256-256, VAEs 750-750, batch 100. The transitions are random numbers: no time
depends on what they are.
"""

import dataclasses
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from gymnasium import spaces
from stable_baselines3 import TD3

from benchmarks.hebbian import best_times
from trainers.offline.bcq import BCQ
from trainers.offline.collect import Exploration, collect
from trainers.offline.config import options_of, train_defaults
from trainers.offline.dataset import OfflineDataset

MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "BCQ": ("bcq", {"net_arch": [400, 300]}),
    "ACSF, T = 4": ("acsf", {}),
    "ACSF, T = 4, products in bfloat16": ("acsf", {"precision": "bfloat16"}),
    "ACSF, T = 4, spiking critics and VAE": ("acsf", {"critic": "spiking", "vae": "spiking"}),
    "rate, T = 4": ("rate", {}),
}
"""Modes of `train`, and what departs from them."""


@dataclass
class Config:
    """Sizes of the comparison."""

    env: str = "Hopper-v5"
    transitions: int = 1_000_000
    steps: int = 20
    """Gradient steps a round."""
    rounds: int = 5
    """In turns; the fastest counts."""
    collected: int = 5000
    """Environment steps of collecting and of the bare loop."""


def random_dataset(env: gymnasium.Env[Any, Any], n: int) -> OfflineDataset:
    """Transitions of this environment's sizes."""
    rng = np.random.default_rng(0)
    assert isinstance(env.observation_space, spaces.Box)
    assert isinstance(env.action_space, spaces.Box)
    size, actions = env.observation_space.shape[0], env.action_space.shape[0]
    ends = rng.random(n) < 0.001
    return OfflineDataset(
        rng.normal(size=(n, size)).astype(np.float32),
        rng.uniform(env.action_space.low, env.action_space.high, (n, actions)).astype(np.float32),
        rng.normal(size=n).astype(np.float32),
        rng.normal(size=(n, size)).astype(np.float32),
        ends,
        ends,
        env.observation_space,
        env.action_space,
    )


def collecting(env_id: str, steps: int) -> list[Callable[[], Any]]:
    """Policy and environment alone, and the command's loop, each over so many steps of the same policy."""
    env = gymnasium.make(env_id)
    model: Any = TD3("MlpPolicy", env, policy_kwargs={"net_arch": [256, 256]}, buffer_size=1, device="cpu")

    def bare() -> None:
        obs, _ = env.reset(seed=0)
        for _ in range(steps):
            action, _ = model.predict(obs, deterministic=True)
            obs, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                obs, _ = env.reset()

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["MINARI_DATASETS_PATH"] = folder
            collect(model, env, "benchmark/td3-v0", steps, Exploration(0.3, 0.0), reference_episodes=1)

    return [bare, ours]


def main(config: Config) -> None:
    """Print the tables."""
    dataset = random_dataset(gymnasium.make(config.env), config.transitions)
    models = {}
    for name, (mode, own) in MODES.items():
        run = dataclasses.replace(train_defaults(config.env, mode), policy_kwargs=own)
        _, policy, arguments, networks = options_of(run)
        models[name] = BCQ(policy, dataset=dataset, policy_kwargs=networks, device="cpu", **arguments)

    def stepping(model: BCQ) -> Callable[[], Any]:
        return lambda: model.learn(model.num_timesteps + config.steps, reset_num_timesteps=False)

    calls = {name: stepping(model) for name, model in models.items()}
    for call in calls.values():
        call()
    sampler = models["BCQ"]._sampler
    assert sampler is not None
    calls["reading a batch"] = lambda: [sampler.draw() for _ in range(config.steps)]
    seconds = dict(zip(calls, best_times(list(calls.values()), config.rounds), strict=True))
    print(f"{config.env}, {config.transitions:,} transitions, batch 100, {torch.get_num_threads()} threads")
    print(f"{'':36s}{'ms/step':>10s}{'ratio':>9s}")
    for name, spent in seconds.items():
        print(f"{name:36s}{1000 * spent / config.steps:10.2f}{spent / seconds['BCQ']:9.3f}")
    bare, collected = best_times(collecting(config.env, config.collected), 3)
    print(f"Collecting: {bare / collected:.2f} of the speed of the bare loop of policy and environment, "
          f"writing to disk and measuring two reference episodes included.")  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m benchmarks.offline", description=__doc__))
