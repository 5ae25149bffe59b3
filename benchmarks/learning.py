"""`python -m benchmarks.learning --task pendulum-td3`: SpikingPolicy against MlpPolicy, same steps and hyper-parameters.

Both take the entry of the task's environment in zoo_configs; MlpPolicy takes the size of the layers from `policy_kwargs`.
Every run is kept in a file of the output folder and not repeated, so that long comparisons can be made piece by piece; give
another folder, or empty it, after changes to the code.
"""

import hashlib
import json
import time
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import tyro
import yaml
from gymnasium import spaces
from matplotlib.figure import Figure
from stable_baselines3 import DQN, PPO, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise

import envs  # noqa: F401
import policies  # noqa: F401
from trainers.checkpoint import write_atomically
from trainers.config import Options
from trainers.schedules import make_schedule
from trainers.spiking_td3 import SpikingTD3


class Task(NamedTuple):
    """An algorithm, an environment and how long to learn."""

    algorithm: str
    env: str
    steps: int


TASKS = {
    "pendulum-td3": Task("td3", "Pendulum-v1", 6_000),
    "cartpole-ppo": Task("ppo", "CartPole-v1", 30_000),
    "cartpole-dqn": Task("dqn", "CartPole-v1", 25_000),
    "robot-td3": Task("td3", "RobotTrajectory-v0", 10_000),
    "halfcheetah-td3": Task("td3", "HalfCheetah-v5", 100_000),
    "hopper-td3": Task("td3", "Hopper-v5", 100_000),
}
ALGORITHMS: dict[str, type[Any]] = {"td3": TD3, "ppo": PPO, "dqn": DQN}
EVALUATIONS = 10
EPISODES = 5
FINAL_EPISODES = 20


class Curve(BaseCallback):
    """Mean returns of `EPISODES` episodes, side by side, `EVALUATIONS` times as learning goes on."""

    def __init__(self, tests: Any, every: int) -> None:
        super().__init__()
        self.tests, self.every = tests, every
        self.steps: list[int] = []
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.every * (len(self.steps) + 1):
            self.steps.append(self.num_timesteps)
            self.returns.append(mean_return(self.model, self.tests, EPISODES))
        return True


def mean_return(model: Any, tests: Any, episodes: int) -> float:
    """Mean return of the policy without exploration."""
    return float(np.mean(evaluate_policy(model, tests, episodes, return_episode_rewards=True)[0]))


@dataclass
class Config:
    """What is compared."""

    task: Literal["pendulum-td3", "cartpole-ppo", "cartpole-dqn", "robot-td3", "halfcheetah-td3", "hopper-td3"]
    """Algorithm and environment."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of each policy for each."""
    steps: int | None = None
    """Steps to learn for (default: the task's)."""
    policies: tuple[str, ...] = ("SpikingPolicy", "MlpPolicy")
    """Which policies; the first is divided by the last."""
    proxy: bool = False
    """Learn SpikingPolicy by SpikingTD3, with a proxy target (TD3 only)."""
    set: Options = field(default_factory=dict)
    """Hyper-parameters of both policies over the entry's, e.g. learning_rate:0.0003."""
    spiking: Options = field(default_factory=dict)
    """Arguments of SpikingPolicy over the entry's, e.g. encoder:population."""
    out: str = "runs/learning"
    """Folder of the learning curves."""


def hyperparameters(config: Config, policy: str) -> dict[str, Any]:
    """What the entry of the environment in zoo_configs, under the options given, means for a policy."""
    algorithm, env, _ = TASKS[config.task]
    table = yaml.safe_load(resources.files("zoo_configs").joinpath(f"{algorithm}.yml").read_text())
    entry = {name: value for name, value in table[env].items() if name not in ("n_timesteps", "policy")} | config.set
    kwargs = entry.get("policy_kwargs", {})
    if policy == "MlpPolicy":
        return entry | {"policy_kwargs": {name: value for name, value in kwargs.items() if name == "net_arch"}}
    return entry | {"policy_kwargs": kwargs | config.spiking, "proxy": config.proxy}


def construct(config: Config, policy: str, seed: int) -> Any:
    """A model that has learned nothing."""
    algorithm, env, _ = TASKS[config.task]
    entry = hyperparameters(config, policy)
    kind = SpikingTD3 if entry.pop("proxy", False) else ALGORITHMS[algorithm]
    vec_env = make_vec_env(env, entry.pop("n_envs", 1), seed=seed)
    if entry.pop("noise_type", None) == "normal":
        assert isinstance(vec_env.action_space, spaces.Box)
        actions = vec_env.action_space.shape[0]
        entry["action_noise"] = NormalActionNoise(np.zeros(actions), np.full(actions, entry.pop("noise_std")))
    for name, value in entry.items():
        if isinstance(value, str) and value.startswith("lin_"):
            entry[name] = make_schedule(value, name)
    return kind(policy, vec_env, seed=seed, device="cpu", **entry)


def learn(config: Config, policy: str, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Steps and mean returns of the evaluations, and the mean return at the end, on episodes of other seeds."""
    _, env, default_steps = TASKS[config.task]
    steps = config.steps or default_steps
    settings = {"env": env, "steps": steps, "policy": policy, "seed": seed, **hyperparameters(config, policy)}
    text = json.dumps(settings, sort_keys=True)
    path = Path(config.out) / config.task / f"{policy}_{seed}_{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    if path.is_file():
        kept = json.loads(path.read_text())
        print(f"{policy}, seed {seed}: {kept['final']:.1f} after {steps} steps (kept in {path})", flush=True)
        return np.array(kept["steps"]), np.array(kept["returns"]), kept["final"]
    tests = make_vec_env(env, EPISODES, seed=1000 + seed)
    model, curve = construct(config, policy, seed), Curve(tests, steps // EVALUATIONS)
    start = time.perf_counter()
    model.learn(steps, callback=curve)
    seconds = time.perf_counter() - start
    tests.seed(2000 + seed)
    final = mean_return(model, tests, FINAL_EPISODES)
    print(f"{policy}, seed {seed}: {final:.1f} after {steps} steps ({seconds:.0f} s)", flush=True)
    kept = {"settings": settings, "steps": curve.steps, "returns": curve.returns, "final": final}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(kept).encode())
    return np.array(curve.steps), np.array(curve.returns), final


def plot(config: Config, curves: dict[str, list[tuple[np.ndarray, np.ndarray]]], path: Path) -> None:
    """Learning curves: every run, and their mean."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for i, (policy, runs) in enumerate(curves.items()):
        for steps, returns in runs:
            axes.plot(steps, returns, color=f"C{i}", alpha=0.3, linewidth=1)
        axes.plot(runs[0][0], np.mean([returns for _, returns in runs], 0), color=f"C{i}", linewidth=2, label=policy)
    axes.set(xlabel="steps", ylabel=f"mean return of {EPISODES} episodes", title=config.task)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main(config: Config) -> None:
    """Learn, print the table and write the learning curves."""
    torch.set_num_threads(1)
    if config.proxy and TASKS[config.task].algorithm != "td3":
        raise SystemExit(f"error: a proxy target is for TD3, but {config.task} uses {TASKS[config.task].algorithm}.")
    if config.steps is not None and config.steps < EVALUATIONS:
        raise SystemExit(f"error: steps={config.steps} must be at least {EVALUATIONS}.")
    curves, finals = {}, {}
    for policy in config.policies:
        runs = [learn(config, policy, seed) for seed in config.seeds]
        curves[policy] = [(steps, returns) for steps, returns, _ in runs]
        finals[policy] = np.array([final for *_, final in runs])
    path = Path(config.out) / f"{config.task}.png"
    plot(config, curves, path)
    print(f"\n{config.task}, {FINAL_EPISODES} episodes after learning, seeds {', '.join(map(str, config.seeds))}")
    for policy, final in finals.items():
        print(f"{policy:>16s} {final.mean():9.1f} +- {final.std():.1f}")
    first, last = finals[config.policies[0]].mean(), finals[config.policies[-1]].mean()
    if len(finals) > 1 and first > 0 and last > 0:
        print(f"{'ratio':>16s} {first / last:9.2f}")
    print(f"curves: {path}")


if __name__ == "__main__":
    main(tyro.cli(Config))
