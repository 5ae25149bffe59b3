"""`python -m trainers.evaluate RUN_DIR --episodes 16 --video out.mp4`: how good a run's network is, and what it does."""

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import numpy as np
import tyro
import yaml

from trainers.checkpoint import CheckpointError
from trainers.config import CONFIGS, from_dict
from trainers.devices import use_all_cores


@dataclass
class EvaluateConfig:
    """Evaluate the network of a run on fresh seeds, and film it."""

    run_dir: Annotated[str, tyro.conf.Positional]
    """Folder of a run, such as runs/ec/BraxHopper-v0_1."""
    episodes: int = 16
    """Episodes to play."""
    seed: int = 12345
    """Seed of the start states."""
    model: str = "best"
    """Which network: best (by evaluations during the run), last or initial."""
    video: str | None = None
    """Film one episode into this file (.mp4 or .gif)."""
    video_steps: int = 1000
    """Film at most this many steps."""


def main(args: list[str] | None = None) -> None:
    """Print mean and standard deviation of the returns; exit code 2 with one sentence when something given is wrong."""
    config = tyro.cli(EvaluateConfig, args=args, prog="python -m trainers.evaluate")
    try:
        evaluate(config)
    except (ValueError, CheckpointError, gymnasium.error.DependencyNotInstalled) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def evaluate(config: EvaluateConfig) -> None:
    """Play the episodes and write the video."""
    if config.episodes < 1:
        raise ValueError(f"episodes={config.episodes} must be at least 1.")
    if config.video is not None and Path(config.video).suffix not in (".mp4", ".gif"):
        raise ValueError(f"video='{config.video}' must end in .mp4 or .gif.")
    use_all_cores()
    from trainers.make_env import make_vec_env
    from trainers.run import ALGORITHMS

    folder = Path(config.run_dir)
    names = {"best": "best_model.zip", "last": "model.zip", "initial": "initial_model.zip"}
    if config.model not in names:
        raise ValueError(f"model='{config.model}' is unknown; use best, last or initial.")
    if not (folder / "config.yml").is_file():
        raise ValueError(f"'{folder}' is not a run folder: it has no config.yml.")
    data = yaml.safe_load((folder / "config.yml").read_text())
    run = from_dict(CONFIGS[data["algorithm"]], data["config"], str(folder / "config.yml"))
    env = make_vec_env(run.env, min(run.n_envs, config.episodes), config.seed, run.env_kwargs)
    model = ALGORITHMS[data["algorithm"]].load(folder / names[config.model], env)
    played = model.evaluate_mean(config.episodes, config.seed)
    print(f"{run.env}, {config.model} network: return {played.returns.mean():.1f} +- {played.returns.std():.1f}, "
          f"length {played.lengths.mean():.0f}, over {config.episodes} episodes")  # fmt: skip
    if config.video is not None:
        film(model, run.env, run.env_kwargs, config)


def film(model: Any, env_id: str, env_kwargs: dict[str, Any], config: EvaluateConfig) -> None:
    """Play one episode with pictures."""
    import imageio

    warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)  # imageio starts ffmpeg at once
    env = gymnasium.make(env_id, **(env_kwargs | {"render_mode": "rgb_array"}))
    fps = float(env.metadata.get("render_fps", 30))
    skip = max(1, round(fps / 40))  # no more than about 40 frames a second
    obs, _ = env.reset(seed=config.seed)
    state, start, total, frames = None, np.ones(1, bool), 0.0, 0
    assert config.video is not None
    Path(config.video).parent.mkdir(parents=True, exist_ok=True)
    with imageio.get_writer(config.video, fps=round(fps / skip)) as writer:
        for step in range(config.video_steps):
            if step % skip == 0:
                writer.append_data(env.render())  # type: ignore[attr-defined]
                frames += 1
            action, state = model.predict(obs[None], state=state, episode_start=start, deterministic=True)
            obs, reward, terminated, truncated, _ = env.step(action[0])
            start, total = np.zeros(1, bool), total + float(reward)
            if terminated or truncated:
                break
    env.close()
    print(f"{config.video}: {frames} frames at {round(fps / skip)} per second, return {total:.1f}")


if __name__ == "__main__":
    main()
