"""Options of the offline commands, and the modes and hyper-parameters of zoo_configs/offline.yml."""

import dataclasses
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from policies.names import choose
from trainers.cli import flag_value
from trainers.config import Options, check_resumable, from_dict, parse_yaml
from trainers.make_env import find_env_id

SOURCE = "zoo_configs/offline.yml"
FIDELITIES = ("corrected", "original")


@dataclass
class BehaviorConfig:
    """Train the policy that will fill the dataset: an algorithm of Stable-Baselines3, without spikes."""

    env: str = "Hopper-v5"
    """Environment."""
    algo: str = "td3"
    """td3, ddpg or sac."""
    n_timesteps: int | None = None
    """Environment steps (default: those of zoo_configs/offline.yml, as all hyper-parameters)."""
    eval_every: int | None = None
    """Steps between evaluations, by which the best model so far is kept (default: a twentieth of all)."""
    eval_episodes: int = 10
    """Episodes of an evaluation."""
    env_kwargs: Options = field(default_factory=dict)
    """Options of the environment, e.g. damage:front_left_leg."""
    seed: int = 0
    """Seed of everything."""
    device: str = "auto"
    """cpu, cuda or auto."""
    log_folder: str = "runs"
    """The run goes to LOG_FOLDER/behavior/<algo>_<env>_<n>/."""
    progress: bool = True
    """Show a progress bar."""


@dataclass
class CollectConfig:
    """Fill a Minari dataset with what a policy does, disturbed by noise. A collection that was stopped goes on when the same
    command is given again."""

    policy: Annotated[str, tyro.conf.Positional]
    """Folder of a `behavior` run, or the zip of a model of Stable-Baselines3 (which can run code when it is read)."""
    dataset: str | None = None
    """Id of the dataset (default: <env>/<algo>-v0); MINARI_DATASETS_PATH is where Minari keeps it."""
    env: str | None = None
    """Environment (default: that of the run)."""
    algo: str | None = None
    """Algorithm of a zip that does not tell it."""
    steps: int = 1_000_000
    """Transitions."""
    noise: float = 0.3
    """Standard deviation of the noise on actions, in half ranges."""
    random_action: float = 0.3
    """Probability, in every step, of a uniformly random action."""
    env_kwargs: Options = field(default_factory=dict)
    """Options of the environment."""
    seed: int = 0
    """Seed of everything."""
    progress: bool = True
    """Show a progress bar."""


@dataclass
class TrainConfig:
    """Learn from a dataset, without the environment."""

    env: str = "Hopper-v5"
    """Environment to evaluate in."""
    dataset: str = ""
    """Id of a Minari dataset, or path of a replay buffer (.pkl) that Stable-Baselines3 saved."""
    trust_pickle: bool = False
    """Read a replay buffer's pickle, which can run code."""
    mode: str = "acsf"
    """acsf, accumulated, rate, bcq, ac-bcq, acsf-fixed-encoder, acsf-fixed-decoder, bc, td3-bc, iql, spiking-bc,
    spiking-td3-bc or spiking-iql."""
    fidelity: str = "corrected"
    """corrected, or original for the sizes and defects of the released code."""
    time_steps: int | None = None
    """Steps T of the spiking networks for a decision, or of a coder (default: 4)."""
    net_arch: tuple[int, ...] = ()
    """Hidden layers of actor and critics (default: 256 256, for fidelity original as released)."""
    vae_arch: tuple[int, ...] = ()
    """Hidden layers of BCQ's autoencoder (default: 750 750)."""
    policy_kwargs: Options = field(default_factory=dict)
    """Options of the networks, over those of the mode, e.g. phi:0.1 neuron:alif."""
    arguments: Options = field(default_factory=dict)
    """Options of the algorithm, over those of the mode, e.g. lmbda:0.9."""
    gradient_steps: int = 1_000_000
    """Steps of the optimiser."""
    batch_size: int = 100
    """Transitions a step."""
    learning_rate: float = 1e-3
    """Of all networks."""
    eval_every: int = 5000
    """Gradient steps between evaluations; 0 for none."""
    eval_episodes: int = 10
    """Episodes of an evaluation."""
    env_kwargs: Options = field(default_factory=dict)
    """Options of the environment."""
    seed: int = 0
    """Seed of everything."""
    save_every: int = 5000
    """Gradient steps between checkpoints."""
    device: str = "auto"
    """cpu, cuda or auto."""
    log_folder: str = "runs"
    """The run goes to LOG_FOLDER/offline/<mode>_<env>_<n>/."""
    folder: str | None = None
    """Write the run to exactly this folder instead."""
    progress: bool = True
    """Show a progress bar."""
    resume: str | None = None
    """Go on with the run in this folder; gradient_steps may grow, other flags must agree with its config.yml."""


@dataclass
class EvaluateConfig:
    """Play what was learned on fresh start states: returns, scores, time steps and energy, one row a mode."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folders of `train` runs, or folders that hold some; runs of one mode are taken together as its seeds."""
    episodes: int = 20
    """Episodes of each run."""
    model: str = "last"
    """last, or best by the evaluations during the run, which flatters."""
    seed: int = 1000
    """Seed of the start states."""
    energy: bool = True
    """Count operations in one episode."""
    video: str | None = None
    """Film an episode of the first run (.mp4 or .gif)."""
    video_steps: int = 1000
    """Longest film in environment steps."""
    out: str | None = None
    """Folder for table.md and table.csv."""


@dataclass
class StudyConfig:
    """All stages, one after the other: behaviour, dataset, learning in several modes and seeds, table."""

    env: str = "Hopper-v5"
    """Environment."""
    algo: str = "td3"
    """Algorithm of the behaviour: td3, ddpg or sac."""
    modes: tuple[str, ...] = ("acsf", "bcq", "rate", "bc")
    """What learns from the dataset."""
    seeds: tuple[int, ...] = (0,)
    """Runs of each mode."""
    behavior_steps: int | None = None
    """Steps of the behaviour's training (default: zoo_configs/offline.yml)."""
    steps: int = 1_000_000
    """Transitions in the dataset."""
    gradient_steps: int | None = None
    """Steps of each learner's optimiser (default: zoo_configs/offline.yml)."""
    folder: str = "runs/offline_study"
    """Where everything goes; a study that was stopped goes on when the same command is given again."""
    progress: bool = True
    """Show progress bars."""


def zoo() -> dict[str, Any]:
    """zoo_configs/offline.yml."""
    table: dict[str, Any] = parse_yaml(resources.files("zoo_configs").joinpath("offline.yml").read_text())
    return table


def train_defaults(env: str, mode: str, fidelity: str = "corrected") -> TrainConfig:
    """What `train` does in an environment and mode, its options not yet written out."""
    table = zoo()
    chosen = choose("mode", mode, table["modes"])
    if fidelity not in FIDELITIES:
        raise ValueError(f"fidelity='{fidelity}' must be corrected or original.")
    if fidelity == "original" and "original" not in chosen:
        known = ", ".join(name for name, entry in table["modes"].items() if "original" in entry)
        raise ValueError(f"{mode} is not in the released code, so that it has no fidelity original; these have: {known}.")
    env_id = find_env_id(env)
    values = table["training"].get(env_id, table["training"]["default"]) | chosen.get("training", {})
    if fidelity == "original":  # the released sizes are the same everywhere
        values = {name: value for name, value in values.items() if name not in ("net_arch", "vae_arch")}
    config = from_dict(TrainConfig, values | {"env": env_id, "mode": mode, "fidelity": fidelity}, SOURCE)
    return dataclasses.replace(config, net_arch=tuple(config.net_arch), vae_arch=tuple(config.vae_arch))


def options_of(config: TrainConfig) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """Algorithm, policy, arguments and policy_kwargs of a run: those of the mode, and over them what was given."""
    entry = zoo()["modes"][config.mode]
    layers = [entry] + ([entry["original"]] if config.fidelity == "original" else [])
    arguments: dict[str, Any] = {}
    networks: dict[str, Any] = {}
    for layer in layers:
        arguments |= layer.get("arguments", {})
        networks |= layer.get("policy_kwargs", {})
    if config.time_steps is not None:
        name = "n_timesteps" if entry["policy"] == "SpikingPolicy" else "coding_steps"
        if name == "coding_steps" and "coding" not in networks:
            raise ValueError(f"--time-steps is for spiking networks and coders; {config.mode} has none.")
        networks |= {name: config.time_steps}
    for coder in ("encoder", "decoder"):
        if config.policy_kwargs.get(coder) not in (None, networks.get(coder)):
            networks.pop(f"{coder}_kwargs", None)  # these are of the mode's own coder
    networks |= {"net_arch": list(config.net_arch)} if config.net_arch else {}
    networks |= {"vae_arch": list(config.vae_arch)} if config.vae_arch and entry["algorithm"] == "bcq" else {}
    return entry["algorithm"], entry["policy"], arguments | config.arguments, networks | config.policy_kwargs


def parse(args: list[str]) -> TrainConfig:
    """Flags of `train` over the entries of the environment and mode; with --resume, over the config of the run."""
    resume = flag_value(args, "--resume")
    if resume is None:
        env, mode = (flag_value(args, flag) or default for flag, default in (("--env", "Hopper-v5"), ("--mode", "acsf")))
        default = train_defaults(env, mode, flag_value(args, "--fidelity") or "corrected")
    else:
        default = read_config(Path(resume))
    config = tyro.cli(TrainConfig, args=args, default=default, prog="python -m trainers.offline train")
    config = dataclasses.replace(config, env=find_env_id(config.env))
    options_of(config)
    if resume is not None:
        check_resumable(
            default,
            config,
            resume,
            ("resume", "progress", "save_every", "folder", "device", "trust_pickle"),
            ("gradient_steps",),
        )
    return config


def read_config(folder: Path) -> TrainConfig:
    """The config of a run."""
    path = folder / "config.yml"
    data = yaml.safe_load(path.read_text()) if path.is_file() else {}
    if data.get("algorithm") != "offline":
        raise ValueError(f"'{folder}' is not a run of `python -m trainers.offline train`.")
    config = from_dict(TrainConfig, data["config"], str(path))
    return dataclasses.replace(config, net_arch=tuple(config.net_arch), vae_arch=tuple(config.vae_arch))
