"""`python -m trainers.continual play RUN`: what the network of a run does in its tasks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from policies.names import nearest
from trainers.continual.config import read_config
from trainers.continual.loop import ContinualRun
from trainers.continual.worlds import MOST_COPIES, Player, make_world, play
from trainers.evaluate import VIDEOS, EvaluateConfig, check_suffix, film


@dataclass
class PlayConfig:
    """Play the tasks of a run with what it has learned so far, on fresh seeds, and film one."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a run, such as runs/continual/rewire_ant_transfer_1."""
    task: str | None = None
    """Play this one alone: its name, or its number from 1 on."""
    episodes: int = 8
    """Episodes of each task."""
    seed: int = 12345
    """Seed of the start states."""
    video: str | None = None
    """Film one episode of the task into this file (.mp4 or .gif)."""
    video_steps: int = 1000
    """Film at most this many steps."""


class Filmed:
    """The actor of a task, as `film` wants models."""

    def __init__(self, player: Player) -> None:
        self.player = player

    def get_vec_normalize_env(self) -> None:
        return None

    def predict(self, obs: Any, **_: Any) -> tuple[np.ndarray, None]:
        return self.player.act(obs), None


def play_tasks(config: PlayConfig) -> None:
    """Print mean and standard deviation of the returns in each task, and its success where it can be solved."""
    if config.episodes < 1:
        raise ValueError(f"episodes={config.episodes} must be at least 1.")
    check_suffix("video", config.video, VIDEOS)
    folder = Path(config.run)
    run = ContinualRun(read_config(folder))
    run.open(folder, [])
    if not (folder / "checkpoint.zip").is_file():
        raise ValueError(f"'{folder}' has learned nothing yet: it has no checkpoint.zip.")
    run.restore()
    chosen = range(len(run.scenario.tasks)) if config.task is None else [_find(config.task, run)]
    if config.video is not None and len(chosen) > 1:
        raise ValueError("A video shows one task; choose it with --task, by its name or number.")
    for i in chosen:
        task, actor = run.scenario.tasks[i], run.method.actor_for(i)
        env = make_world(task, run.scenario.max_episode_steps, min(config.episodes, MOST_COPIES), config.seed)
        played = play(env, actor, config.episodes, config.seed, run.device)
        solved = "" if np.isnan(played.success).any() else f", success {played.success.mean():.2f}"
        later = "" if i < run.task else ", not learned yet"
        print(f"{i + 1} {task.name}: return {played.returns.mean():.1f} +- {played.returns.std():.1f}{solved} "
              f"over {config.episodes} episodes{later}")  # fmt: skip
        if config.video is not None:
            shown = EvaluateConfig(config.run, seed=config.seed, video=config.video, video_steps=config.video_steps)
            film(Filmed(Player(env, actor, run.device)), task.env_id, dict(task.env_kwargs), shown)
        env.close()


def _find(name: str, run: ContinualRun) -> int:
    names = [task.name for task in run.scenario.tasks]
    if name in names:
        return names.index(name)
    if name.isdigit() and 1 <= int(name) <= len(names):
        return int(name) - 1
    raise ValueError(f"{run.scenario.name} has no task '{name}'. {nearest(name, names)}")
