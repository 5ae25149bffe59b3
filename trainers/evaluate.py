"""`python -m trainers.evaluate MODEL --episodes 16 --video out.mp4`: how good a network is, and what it does."""

import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import numpy as np
import tyro

from trainers.checkpoint import CheckpointError
from trainers.config import Options
from trainers.devices import use_all_cores

VIDEOS = (".mp4", ".gif")


@dataclass
class EvaluateConfig:
    """Evaluate a network on fresh seeds, film it, and show its spikes."""

    path: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Folder of a run, such as runs/ec/BraxHopper-v0_1, or a model's zip of Stable-Baselines3."""
    episodes: int = 16
    """Episodes to play."""
    seed: int = 12345
    """Seed of the start states."""
    model: str = "best"
    """Which network of a run's folder: best (by evaluations during the run), last or initial."""
    env: str | None = None
    """Environment of a zip, unless its folder is named after it as rl_zoo3 does (HalfCheetah-v5_1)."""
    env_kwargs: Options = field(default_factory=dict)
    """Options of the environment, e.g. damage:front_left_leg; those of a run's folder not named here stay, and naming what
    the run varied evaluates on that alone."""
    algo: str | None = None
    """Algorithm of a zip (ppo, td3, ...), for policies that are not ours."""
    vec_normalize: str | None = None
    """Statistics saved by VecNormalize (default: vecnormalize.pkl where rl_zoo3 puts it)."""
    energy: bool = False
    """Print what a decision of a spiking policy costs."""
    raster: str | None = None
    """Draw the spikes of an episode's beginning into this file (.png, .pdf or .svg)."""
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
    """Play the episodes, count, and draw."""
    if config.episodes < 1:
        raise ValueError(f"episodes={config.episodes} must be at least 1.")
    check_suffix("video", config.video, VIDEOS)
    check_suffix("raster", config.raster, (".png", ".pdf", ".svg"))
    use_all_cores()
    if Path(config.path).is_file():
        _evaluate_zip(config)
    else:
        _evaluate_run(config)


def check_suffix(name: str, path: str | None, suffixes: tuple[str, ...]) -> None:
    """ValueError for a file that is to be written and is none of these kinds."""
    if path is not None and Path(path).suffix not in suffixes:
        raise ValueError(f"{name}='{path}' must end in {', '.join(suffixes[:-1])} or {suffixes[-1]}.")


def _evaluate_run(config: EvaluateConfig) -> None:
    from trainers.run import read_run

    algorithm, run, path = read_run(Path(config.path), config.model)
    if config.energy or config.raster is not None:
        raise ValueError("energy and raster are for spiking policies of Stable-Baselines3; give the zip of one.")
    env_kwargs = run.env_kwargs | config.env_kwargs
    changed: dict[str, Any] = {
        "env_kwargs": env_kwargs,
        "variants": {name: values for name, values in run.variants.items() if name not in config.env_kwargs},
        "n_envs": min(run.n_envs, config.episodes),
        "vec_env": run.vec_env,
    }
    model = algorithm.load(path, run.env, **changed)
    played = model.evaluate_mean(config.episodes, config.seed)
    what = " ".join([run.env, *(f"{name}={value}" for name, value in config.env_kwargs.items())])
    for i, name in enumerate(model.variants.names or [""]):
        part = slice(i * config.episodes, (i + 1) * config.episodes)
        variant = f" {model.variants.argument}={name}" if name else ""
        _print_returns(f"{what}{variant}, {config.model} network", played.returns[part], played.lengths[part])
    if config.video is not None:
        film(model, run.env, model.variants.env_kwargs(env_kwargs)[0], config)


def _evaluate_zip(config: EvaluateConfig) -> None:
    from stable_baselines3.common.evaluation import evaluate_policy

    from policies.energy import count_energy
    from policies.plots import plot_raster, record_episode
    from trainers.sb3_model import load_model

    n_envs = min(8, config.episodes)
    model, env_id, env = load_model(
        Path(config.path), config.env, config.algo, n_envs, config.seed, config.env_kwargs, config.vec_normalize
    )
    played = evaluate_policy(model, env, config.episodes, return_episode_rewards=True, warn=False)
    _print_returns(f"{env_id}, {type(model).__name__} {type(model.policy).__name__}", *map(np.array, played))
    if config.energy:
        print(count_energy(model, env, config.episodes, seed=config.seed))
    if config.raster is not None:
        Path(config.raster).parent.mkdir(parents=True, exist_ok=True)
        plot_raster(record_episode(model, env, 50, seed=config.seed), title=env_id).savefig(config.raster)
        print(f"{config.raster}: spikes of the first steps of an episode")
    if config.video is not None:
        film(model, env_id, config.env_kwargs, config)


def _print_returns(what: str, returns: np.ndarray, lengths: np.ndarray) -> None:
    print(f"{what}: return {returns.mean():.1f} +- {returns.std():.1f}, "
          f"length {lengths.mean():.0f}, over {len(returns)} episodes")  # fmt: skip


def film(model: Any, env_id: str, env_kwargs: dict[str, Any], config: EvaluateConfig) -> None:
    """Play one episode with pictures."""
    import imageio

    warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)  # imageio starts ffmpeg at once
    env = _drawable(env_id, env_kwargs)
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
            batch = {name: x[None] for name, x in obs.items()} if isinstance(obs, dict) else np.asarray(obs)[None]
            if model.get_vec_normalize_env() is not None:
                batch = model.get_vec_normalize_env().normalize_obs(batch)
            action, state = model.predict(batch, state=state, episode_start=start, deterministic=True)
            obs, reward, terminated, truncated, _ = env.step(action[0])
            start, total = np.zeros(1, bool), total + float(reward)
            if terminated or truncated:
                break
    env.close()
    print(f"{config.video}: {frames} frames at {round(fps / skip)} per second, return {total:.1f}")


def _drawable(env_id: str, env_kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """The environment with pictures. Where OpenGL is missing, our robots are drawn in software, and in place of one of
    Gymnasium's ours of that name, which undamaged is the same, number for number."""
    env = gymnasium.make(env_id, **(env_kwargs | {"render_mode": "rgb_array"}))
    twin = f"Damaged{env_id.removesuffix('-v5')}-v0" if env_id.endswith("-v5") else env_id
    if not twin.startswith("Damaged") or twin not in gymnasium.registry or "renderer" in env_kwargs:
        return env
    try:
        env.reset()
        env.render()
    except Exception as error:  # MuJoCo's own, or one of whatever it draws with
        name = type(error.__cause__ or error).__name__
        instead = "it is drawn in software" if twin == env_id else f"this is {twin}, the same robot, drawn in software"
        print(f"{env_id} cannot be drawn with OpenGL here ({name}); {instead}.")
        return gymnasium.make(twin, **(env_kwargs | {"render_mode": "rgb_array", "renderer": "software"}))
    return env


if __name__ == "__main__":
    main()
