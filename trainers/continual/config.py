"""Options of `python -m trainers.continual`, and the hyper-parameters of zoo_configs/continual."""

import dataclasses
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from envs.continual.scenarios import Scenario, is_file, load_scenario
from policies.names import choose
from trainers.cli import flag_value
from trainers.config import Options, check_resumable, from_dict, parse_yaml
from trainers.continual.methods import METHODS

PROFILES = ("published", "quick")
FREE = ("resume", "progress", "folder", "log_folder", "device")
"""Flags that may differ when a run is resumed."""


@dataclass
class ContinualConfig:
    """Learn the tasks of a scenario one after the other. Options that are not given are those of zoo_configs/continual."""

    method: str = "rewire"
    """rewire, ft_1, sac_n, ft_n, ft_l2, ewc, pnn, packnet, csp or replay."""
    scenario: str = "halfcheetah/forgetting"
    """Name of a scenario (`python -m trainers.continual scenarios` lists them), or a YAML file with one."""
    profile: str = "published"
    """published, or quick: a fraction of the steps with smaller networks."""
    policy: str = "MlpPolicy"
    """MlpPolicy or SpikingPolicy."""
    seed: int = 0
    """Seed of everything."""
    physics: str | None = None
    """Another kind of physics for the tasks of Brax: v1, generalized, spring, positional, mjx, or mujoco."""
    fidelity: str | None = None
    """Of perturbed robots: corrected (the default), or original for the modifications as released."""
    repeat: int | None = None
    """How often the sequence is gone through (default: as the profile says, or else the scenario)."""
    n_timesteps: int | None = None
    """Environment steps of each task (default: as the profile says, or else the scenario)."""
    max_episode_steps: int | None = None
    """Steps after which an episode is truncated (default: as the scenario says)."""
    arguments: Options = field(default_factory=dict)
    """Options of the method over those of its file, e.g. coefficient:10."""
    n_envs: int = 128
    """Environments side by side."""
    update_ratio: float = 0.5
    """Updates of the critics for each environment step."""
    batch_size: int = 256
    """Transitions in an update."""
    buffer_size: int = 1_280_000
    """Transitions that are kept of a task."""
    learning_starts: int = 12_800
    """Steps of each task before the first update."""
    random_steps: int = 0
    """Steps at the start of each task with uniformly random actions."""
    learning_rate: float = 1e-3
    """Of actor and temperature."""
    critic_learning_rate: float = 3e-4
    """Of the critics."""
    gamma: float = 0.99
    """Discount."""
    tau: float = 0.005
    """How far the target critics move in an update."""
    reward_scale: float = 1.0
    """Factor of rewards in what the critics learn."""
    initial_temperature: float = 2.0
    """Of the entropy at the start of each task."""
    target_multiplier: float = 1.0
    """The entropy aimed at is minus this for each action."""
    policy_delay: int = 2
    """Updates of the critics for one of the actor."""
    target_delay: int = 2
    """Updates of the critics for one of the target critics."""
    net_arch: tuple[int, ...] = (256, 256, 256)
    """Hidden layers of actor and critics."""
    precision: str = "float32"
    """float32, or bfloat16 for products between hidden layers, faster on processors that have it."""
    policy_kwargs: Options = field(default_factory=dict)
    """Options of SpikingPolicy, e.g. n_timesteps:4."""
    new_critics: bool = False
    """Begin every task with new critics; some methods always do."""
    eval_episodes: int = 32
    """Episodes of every task after each."""
    save_every: int | None = None
    """Steps between checkpoints, at which all environments start anew (default: an episode of each)."""
    device: str = "auto"
    """cpu, cuda or auto."""
    log_folder: str = "runs"
    """The run goes to LOG_FOLDER/continual/<method>_<scenario>_<n>/."""
    folder: str | None = None
    """Write the run to exactly this folder instead."""
    progress: bool = True
    """Show a progress bar."""
    resume: str | None = None
    """Go on with the run in this folder; other flags must agree with its config.yml."""


@dataclass
class StudyConfig:
    """Learn a scenario by several methods, each with several seeds, and compare them. What was stopped goes on when the same
    command is given again."""

    scenario: str = "halfcheetah/forgetting"
    """Name of a scenario, or a YAML file with one."""
    methods: tuple[str, ...] | None = None
    """What learns (default: all methods that take the policy)."""
    seeds: tuple[int, ...] = (0,)
    """Runs of each method."""
    profile: str = "quick"
    """quick or published."""
    policy: str = "MlpPolicy"
    """MlpPolicy or SpikingPolicy."""
    folder: str | None = None
    """Where all runs and the report go (default: runs/continual_study/<scenario>)."""
    progress: bool = True
    """Show progress bars."""
    flags: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Behind --: further flags of every run, e.g. -- --n-timesteps 20000."""


def defaults(method: str, scenario: str, profile: str = "published") -> ContinualConfig:
    """What is published for a method in a scenario, or the quick profile over it. A scenario of one's own keeps its own steps
    and repetitions."""
    choose("method", method, METHODS)
    if profile not in PROFILES:
        raise ValueError(f"profile='{profile}' must be published or quick.")
    name = load_scenario(scenario).name
    values = _entry("sac", name)
    arguments = _entry(method, name) if _has_file(method) else {}
    if profile == "quick":
        values |= _entry("quick", name)
        arguments |= _table("quick")["methods"].get(method, {})
        if is_file(scenario):
            values = {key: value for key, value in values.items() if key not in ("n_timesteps", "repeat")}
    values |= {"method": method, "scenario": scenario, "profile": profile, "arguments": arguments}
    return _tupled(from_dict(ContinualConfig, values, "zoo_configs/continual/sac.yml"))


def scenario_of(config: ContinualConfig) -> Scenario:
    """The tasks of a run."""
    return load_scenario(
        config.scenario,
        physics=config.physics,
        fidelity=config.fidelity,
        repeat=config.repeat,
        n_timesteps=config.n_timesteps,
        max_episode_steps=config.max_episode_steps,
    )


def parse(args: list[str]) -> ContinualConfig:
    """Flags over the defaults of method, scenario and profile; with --resume, over the config of the run."""
    resume = flag_value(args, "--resume")
    if resume is None:
        method, scenario, profile = (
            flag_value(args, f"--{name}") or getattr(ContinualConfig, name) for name in ("method", "scenario", "profile")
        )
        default = defaults(method, scenario, profile)
    else:
        default = read_config(Path(resume))
    description = f"{ContinualConfig.__doc__} There are also the commands study, report, play and scenarios; see their --help."
    config = tyro.cli(
        ContinualConfig, args=args, default=default, prog="python -m trainers.continual", description=description
    )
    if is_file(config.scenario):  # a run can be resumed from anywhere
        config = dataclasses.replace(config, scenario=str(Path(config.scenario).resolve()))
    if resume is None:
        return dataclasses.replace(config, arguments=default.arguments | config.arguments)
    check_resumable(default, config, resume, FREE)
    return config


def check(config: ContinualConfig, n_timesteps: int) -> None:
    """ValueError for counts that are none, and for tasks of so few steps that nothing would be learned."""
    counts = {"n_envs": 1, "batch_size": 1, "buffer_size": 1, "eval_episodes": 1, "learning_starts": 0, "random_steps": 0}
    for name, least in counts.items():
        if getattr(config, name) < least:
            raise ValueError(f"{name}={getattr(config, name)} must be at least {least}.")
    if not config.update_ratio > 0:
        raise ValueError(f"update_ratio={config.update_ratio} must be positive.")
    if not config.net_arch or min(config.net_arch) < 1:
        raise ValueError(f"net_arch={config.net_arch} must be sizes of at least one hidden layer, each 1 or more.")
    if config.learning_starts >= n_timesteps:
        raise ValueError(
            f"learning_starts={config.learning_starts} leaves nothing to learn in the {n_timesteps} steps of a task; lower it."
        )


def read_config(folder: Path) -> ContinualConfig:
    """The config of a run."""
    path = folder / "config.yml"
    data = yaml.safe_load(path.read_text()) if path.is_file() else {}
    if data.get("algorithm") != "continual":
        raise ValueError(f"'{folder}' is not a run of `python -m trainers.continual`.")
    return _tupled(from_dict(ContinualConfig, data["config"], str(path)))


def to_plain(config: ContinualConfig) -> dict[str, Any]:
    """What config.yml keeps."""
    values = dataclasses.asdict(config) | {"net_arch": list(config.net_arch)}
    return {key: value for key, value in values.items() if key not in ("resume", "folder")}


def _tupled(config: ContinualConfig) -> ContinualConfig:
    return dataclasses.replace(config, net_arch=tuple(config.net_arch))


def _has_file(method: str) -> bool:
    return resources.files("zoo_configs").joinpath("continual", f"{method}.yml").is_file()


def _table(name: str) -> dict[str, Any]:
    table: dict[str, Any] = parse_yaml(resources.files("zoo_configs").joinpath("continual", f"{name}.yml").read_text())
    return table


def _entry(file: str, scenario: str) -> dict[str, Any]:
    """Of a scenario, over that of its family, over `default`."""
    table = _table(file)
    return {**table["default"], **table.get(scenario.split("/")[0], {}), **table.get(scenario, {})}
