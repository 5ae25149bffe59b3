"""`python -m trainers.hebbian`: evolve Hebbian rules with the flags and settings of the published code (arXiv 2007.02686)."""

import shlex
import sys
from dataclasses import dataclass

import tyro

from policies.equations.plasticity import INITIAL_WEIGHTS, RULES
from policies.names import choose
from trainers.config import parse_yaml

ENVIRONMENTS = {"CarRacing-v0": "CarRacingEarlyStop-v0", "AntBulletEnv-v0": "DamagedAntBullet-v0"}
"""Published ids -> what stands for them here."""

WEIGHTS = {
    "uni": "uniform",
    "normal": "normal",
    "uni_big": "uniform_big",
    "xa_uni": "xavier",
    "xa_uni_big": "xavier_big",
    "ka_uni": "kaiming",
    "sparse": "sparse",
    "ones": "ones",
    "zeros": "zeros",
    "default": "default",
    "coevolve": "coevolve",
}
"""Published names of initial weights -> ours."""

CAR = {"obs_size": "84", "lap_complete_percent": "1.0", "renderer": "fast"}
"""The published car sees 84 x 84 pixels, and finishes when it has visited every tile."""


@dataclass
class HebbianConfig:
    """Evolve Hebbian rules as published: an evolution strategy with plain ascent, antithetic pairs and standardized ranks.

    Prints the command of `trainers.es` that it stands for, which has many more flags, and runs it. What no flag says comes
    from zoo_configs/es.yml; the ants are trained there as in the paper, intact and with the front right foot shortened."""

    environment: str = "CarRacing-v0"
    """Environment: a published id (CarRacing-v0, AntBulletEnv-v0), a Brax task or any Gymnasium id."""
    hebb_rule: str = "ABCD_lr"
    """Rule of every connection."""
    popsize: int = 200
    """Members per generation; even."""
    lr: float = 0.2
    """Step size of the first generation."""
    decay: float = 0.995
    """Factor of the step size a generation, down to 0.001 (sigma falls by 0.999 to 0.01)."""
    sigma: float = 0.1
    """Standard deviation of the perturbations in the first generation."""
    init_weights: str = "uni"
    """Weights at the start of every episode."""
    print_every: int = 1
    """Generations between evaluations of the mean network and checkpoints."""
    generations: int = 300
    """Generations to run."""
    threads: int = -1
    """Environments side by side, each in a process of its own; -1 for one a core."""
    folder: str = "heb_coeffs"
    """Where the run is written."""
    distribution: str = "normal"
    """Coefficients that evolution starts from: normal or uniform."""
    seed: int = 0
    """Seed of everything."""


def main(args: list[str] | None = None) -> None:
    """Run `trainers.es` with what the flags mean; exit code 2 and one sentence when something given is wrong."""
    from trainers import cli

    config = tyro.cli(HebbianConfig, args=args, prog="python -m trainers.hebbian")
    try:
        words = arguments(config)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(shlex.join(["python", "-m", "trainers.es", *words]), flush=True)
    cli.main("es", words)


def arguments(config: HebbianConfig) -> list[str]:
    """The flags of `python -m trainers.es` that do the same; ValueError for unknown names."""
    from envs.brax.tasks import find_task
    from trainers.devices import count_cores
    from trainers.make_env import find_env_id

    choose("hebb_rule", config.hebb_rule, RULES)
    choose("distribution", config.distribution, dict.fromkeys(("normal", "uniform")))
    names = dict(zip(INITIAL_WEIGHTS, INITIAL_WEIGHTS, strict=True)) | WEIGHTS
    weights = choose("init_weights", config.init_weights, names)
    if config.threads != -1 and config.threads < 1:
        raise ValueError(f"threads={config.threads} must be at least 1, or -1 for one a core.")
    env = find_env_id(ENVIRONMENTS.get(config.environment, config.environment))
    env_kwargs = CAR if env == "CarRacingEarlyStop-v0" else {}
    on_images = find_task(env) is None and _gives_images(env, env_kwargs)
    options = {"coefficients": config.distribution}
    if env == "CarRacingEarlyStop-v0":
        options["action_bounds"] = "car_racing"
    if "Bullet" in env:
        options |= {"normalize": "none", "output": "tanh"}
    flags = {
        "env": env,
        "policy": "HebbianCnnPolicy" if on_images else "HebbianPolicy",
        "hebb-rule": config.hebb_rule,
        "init-weights": weights,
        "population-size": config.popsize,
        "generations": config.generations,
        "learning-rate": f"exp_{config.lr}_{config.decay}_{min(0.001, config.lr)}",
        "sigma": f"exp_{config.sigma}_0.999_{min(0.01, config.sigma)}",
        "optimizer": "sgd",
        "weight-decay": 0.0,
        "ranks": "standardized",
        "l2": 0.01,
        "episodes": 1,
        "eval-every": config.print_every,
        "save-every": config.print_every,
        "seed": config.seed,
        "log-folder": config.folder,
    }
    if find_task(env) is None:
        count = count_cores() if config.threads == -1 else config.threads
        flags |= {"n-envs": count, "vec-env": "dummy" if count == 1 else "subproc"}
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    words += ["--antithetic", "--no-normalize-obs", "--policy-kwargs", *(f"{k}:{v}" for k, v in options.items())]
    if env_kwargs:
        words += ["--env-kwargs", *(f"{name}:{value}" for name, value in env_kwargs.items())]
    return words


def _gives_images(env_id: str, env_kwargs: dict[str, str]) -> bool:
    from trainers.make_env import make_vec_env

    env = make_vec_env(env_id, 1, 0, {name: parse_yaml(value) for name, value in env_kwargs.items()})
    shape = env.observation_space.shape
    env.close()
    return shape is not None and len(shape) == 3


if __name__ == "__main__":
    main()
