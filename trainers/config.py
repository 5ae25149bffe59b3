"""What a run is made of: dataclasses that are the command line, the YAML and config.yml at once."""

import dataclasses
import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
import yaml

from policies.population import find_network
from trainers.make_env import find_env_id

Config = TypeVar("Config")


class _Loader(yaml.SafeLoader):
    """Numbers as in YAML 1.2: 1e-4 is one."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("+-0123456789"))


def parse_yaml(text: str) -> Any:
    """What a value on the command line or a file of options says."""
    return yaml.load(text, _Loader)


def _parse_options(words: list[str]) -> dict[str, Any]:
    options = {}
    for word in words:
        key, sign, value = word.partition(":")
        if not sign:
            raise ValueError(f"'{word}' is not of the form key:value")
        options[key] = parse_yaml(value)
    return options


Options = Annotated[
    dict[str, Any],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="[KEY:VALUE ...]",
        instance_from_str=_parse_options,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda options: [f"{k}:{v}" for k, v in options.items()],
    ),
]


def _parse_variants(words: list[str]) -> dict[str, list[Any]]:
    if words == [""]:
        return {}
    key, sign, values = words[0].partition("=")
    if not (sign and key and values):
        raise ValueError(f"'{words[0]}' is not of the form option=value,value")
    try:
        return {key: parse_yaml(f"[{values}]")}
    except yaml.YAMLError:
        raise ValueError(f"'{values}' is not a list of values with commas between them") from None


VariantValues = Annotated[
    dict[str, list[Any]],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="OPTION=VALUE,VALUE,...",
        instance_from_str=_parse_variants,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda table: [
            ",".join(f"{key}={yaml.safe_dump(values, default_flow_style=True, width=1000).strip()[1:-1]}"
                     for key, values in table.items())
        ],
    ),
]  # fmt: skip


@dataclass
class RunConfig:
    """Options of every evolution command."""

    env: str = "BraxHumanoid-v0"
    """Environment: a Brax task name (Humanoid) or any Gymnasium id."""
    policy: str = "RSNNPolicy"
    """Network: RSNNPolicy, DenseSNNPolicy, GRUPolicy, LSTMPolicy, MlpPolicy or HebbianPolicy; for images CnnPolicy or
    HebbianCnnPolicy."""
    policy_kwargs: Options = field(default_factory=dict)
    """Options of the network, e.g. num_neurons:128."""
    hebb_rule: str | None = None
    """Rule of a Hebbian network, e.g. ABCD_lr; short for --policy-kwargs hebb_rule:..."""
    init_weights: str | None = None
    """Weights that a Hebbian network starts an episode with, e.g. uniform; short for --policy-kwargs init_weights:..."""
    env_kwargs: Options = field(default_factory=dict)
    """Options of the environment, e.g. physics:generalized."""
    variants: VariantValues = field(default_factory=dict)
    """One option of the environment and the values over which fitness is taken, e.g. damage=none,front_left_short."""
    variant_fitness: str = "mean"
    """Fitness of a member: mean or min of its mean returns in the variants."""
    shared_start: bool = False
    """Start the networks' state alike in all variants."""
    population_size: int = 512
    """Members per generation."""
    generations: int = 200
    """Generations to run."""
    n_timesteps: int | None = None
    """Stop after this many environment steps, if that comes first."""
    episodes: int = 1
    """Episodes per member and generation (of each variant)."""
    eval_episodes: int = 16
    """Episodes of the deployed network per evaluation (of each variant); 0 for none."""
    eval_every: int = 1
    """Generations between evaluations."""
    normalize_obs: bool = True
    """Normalise observations by running statistics."""
    chunk_steps: int = 1
    """Steps between refills of finished slots (Brax); changes speed, not results."""
    n_envs: int = 8
    """Environments side by side (other than Brax)."""
    vec_env: str = "dummy"
    """How they run: dummy or subproc."""
    seed: int = 0
    """Seed of everything."""
    save_every: int = 10
    """Generations between checkpoints."""
    log_folder: str = "runs"
    """Runs are written to LOG_FOLDER/<algorithm>/<env>_<n>/."""
    folder: str | None = None
    """Write the run to exactly this folder instead."""
    track: bool = False
    """Log to Weights & Biases too (extra `wandb`)."""
    progress: bool = True
    """Show a progress bar."""
    resume: str | None = None
    """Go on with the run in this folder; other flags must then agree with its config.yml (generations may grow)."""


@dataclass
class OptimizerConfig(RunConfig):
    """Options of the commands that follow an estimated gradient."""

    learning_rate: float | str = 0.15
    """Step size of the optimiser; a number or a schedule such as lin_0.15 or exp_0.2_0.995_0.001 (start, factor a
    generation, least)."""
    optimizer: str = "adam"
    """Any optax optimiser."""
    optimizer_kwargs: Options = field(default_factory=dict)
    """Options of the optimiser, e.g. b2:0.99."""
    weight_decay: float = 0.0
    """Decoupled weight decay (for EC: pull of every connection probability towards 0)."""
    antithetic: bool = False
    """Draw members in opposite pairs."""


@dataclass
class ECConfig(OptimizerConfig):
    """Evolving Connectivity: evolve which one-bit synapses of a spiking network exist (arXiv 2305.17650)."""

    eps: float = 1e-3
    """Connection probabilities stay in [eps, 1 - eps]."""


@dataclass
class DCConfig(ECConfig):
    """Distributional Crossover: several distributions over one-bit synapses that evolve, are crossed and selected."""

    num_distributions: int = 4
    """Distributions, which share the population out."""
    crossover: str = "random_pick"
    """Operator: arithmetic, mean, random_pick, logits or samples."""
    crossover_every: int = 10
    """Generations from one crossover to the next; 0 for none."""
    crossover_only: bool = False
    """Cross in every generation, and make no steps of EC."""
    offspring_ratio: float = 2.0
    """Children for each distribution."""
    mutation: float = 0.01
    """Standard deviation of the noise on a child's probabilities."""
    selection: str = "sampled"
    """What is judged of parents and children: sampled masks, or the deployed one over as many episodes."""
    mix_moments: bool = False
    """Children start with the mean of their parents' optimisers, instead of afresh."""
    jitter: float = 0.0
    """Standard deviation of the first probabilities around one half."""


@dataclass
class SATRConfig(RunConfig):
    """Evolving Connectivity with steps bounded in relative entropy by the signal in them (idea: arXiv 2601.21572)."""

    population_size: int = 256
    """Members per generation."""
    eps: float = 1e-3
    """Connection probabilities stay in [eps, 1 - eps]."""
    antithetic: bool = False
    """Draw members in opposite pairs."""
    kl_max: float = 0.045
    """Largest relative entropy of an update, nats for each connection."""
    kl_min: float = 1e-4
    """What kl_max falls to where members become neither better nor worse."""
    min_change: float = 1.2
    """Standard deviations by which members' fitness has to change in a generation for no fall."""
    signal_decay: float = 0.9
    """Decay of the mean over generations by which the signal is estimated."""


@dataclass
class ESConfig(OptimizerConfig):
    """Evolution strategy with Gaussian perturbations of real-valued weights (arXiv 1703.03864)."""

    policy: str = "DenseSNNPolicy"
    """Network: DenseSNNPolicy, GRUPolicy, LSTMPolicy, MlpPolicy or HebbianPolicy; for images CnnPolicy or HebbianCnnPolicy."""
    learning_rate: float | str = 0.01
    """Step size of the optimiser; a number or a schedule such as lin_0.01 or exp_0.2_0.995_0.001 (start, factor a
    generation, least)."""
    sigma: float | str = 0.02
    """Standard deviation of the perturbations; a number or a schedule such as lin_0.02 or exp_0.1_0.999_0.01."""
    antithetic: bool = True
    """Draw members in opposite pairs."""
    weight_decay: float = 0.1
    """Decoupled weight decay."""
    ranks: str = "centred"
    """How fitness becomes weights: centred ranks, or standardized ones (divided by their standard deviation)."""
    l2: float = 0.0
    """Penalty on the mean square of a member's parameters, taken off its fitness."""
    precision: str = "float32"
    """Of the parameters that members have: float32, or float16, which is faster for plastic networks."""
    strategy: str = "ES"
    """ES, or any strategy of evosax by name, e.g. SNES (extra `evosax`), which starts with sigma and to which learning_rate,
    optimizer, antithetic, weight_decay, ranks, l2 and precision do not apply."""
    strategy_kwargs: Options = field(default_factory=dict)
    """Options of evosax's strategy, e.g. lr_std_init:0.1."""


@dataclass
class CMAESConfig(RunConfig):
    """CMA-ES by pycma: evolve all weights of a network, and learn how they should vary together (arXiv 1604.00772)."""

    policy: str = "MlpPolicy"
    """Network: DenseSNNPolicy, GRUPolicy, LSTMPolicy, MlpPolicy or HebbianPolicy; for images CnnPolicy or HebbianCnnPolicy."""
    population_size: int = 0
    """Members per generation; 0 for pycma's own, 4 + 3 ln(number of parameters)."""
    variant: str = "auto"
    """What the covariance matrix may be: full, vd, vkd, sep (diagonal), or auto, the richest that fits the memory."""
    sigma0: float = 0.3
    """Standard deviation of the first members around the initial network."""
    restarts: int = 0
    """How often, at most, the search starts again, with twice the population."""
    patience: int = 50
    """Iterations without a better median fitness after which it does."""


SHORTHANDS = ("hebb_rule", "init_weights")
"""Flags for options of the network; they become part of `policy_kwargs`."""

CONFIGS: dict[str, type[RunConfig]] = {
    "cma_es": CMAESConfig,
    "dc": DCConfig,
    "ec": ECConfig,
    "es": ESConfig,
    "satr": SATRConfig,
}
RUN_ONLY = {"generations", "n_timesteps", "save_every", "log_folder", "folder", "track", "progress", "resume", *SHORTHANDS}


def defaults(algorithm: str, env: str, policy: str | None = None, file: Path | None = None) -> RunConfig:
    """Dataclass defaults, overridden by `file` (zoo_configs/<algorithm>.yml): `policies`, then `default` or the env's entry,
    then the entry's own `policies`."""
    source = file or resources.files("zoo_configs").joinpath(f"{algorithm}.yml")
    table = parse_yaml(source.read_text())
    env_id = find_env_id(env)
    if not {env_id, "default"} & set(table):
        raise ValueError(f"{source} has neither an entry of {env_id} nor one called default.")
    entry = dict(table.get(env_id) or table["default"])
    if policy is not None:
        entry["policy"] = policy
    entry["policy"] = find_network(entry.get("policy", CONFIGS[algorithm].policy))
    own = entry.pop("policies", {}).get(entry["policy"], {})
    entry = table.get("policies", {}).get(entry["policy"], {}) | entry | own
    return from_dict(CONFIGS[algorithm], entry | {"env": env_id}, str(file or f"zoo_configs/{algorithm}.yml"))


def from_dict(cls: type[Config], values: dict[str, Any], source: str) -> Config:
    """A config from plain values; ValueError with the nearest name when a key is unknown."""
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise ValueError(f"{source}: unknown key '{key}'. Did you mean '{near}'? Known: {', '.join(known)}.")
    return cls(**values)


def check_resumable(stored: Any, config: Any, folder: str, differing: Collection[str], growing: Collection[str] = ()) -> None:
    """ValueError unless a config agrees with that of the run which it goes on with.

    :param differing: options that need not agree
    :param growing: those that may only be larger
    """
    for f in dataclasses.fields(stored):
        old, new = getattr(stored, f.name), getattr(config, f.name)
        if old == new or f.name in differing or (f.name in growing and new > old):
            continue
        raise ValueError(
            f"{f.name} was {old} in '{folder}' and cannot be {new} when resuming; leave the flag out, or start a new run."
        )


def constructor_arguments(config: RunConfig) -> dict[str, Any]:
    """What of a config the algorithm's constructor takes."""
    values = dataclasses.asdict(config)
    return {key: value for key, value in values.items() if key not in RUN_ONLY and key not in ("env", "policy")}


def load_config(algorithm: str, run_dir: Path) -> RunConfig:
    """The config of an earlier run."""
    path = run_dir / "config.yml"
    if not path.is_file():
        raise ValueError(f"'{run_dir}' is not a run folder: it has no config.yml.")
    data = yaml.safe_load(path.read_text())
    if data.get("algorithm") != algorithm:
        raise ValueError(f"'{run_dir}' is a run of {data.get('algorithm')}; resume it with that command.")
    return from_dict(CONFIGS[algorithm], data["config"], str(path))
