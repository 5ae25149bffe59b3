"""The commands `python -m trainers.<algorithm>`."""

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Any

import tyro

from trainers.checkpoint import CheckpointError
from trainers.config import CONFIGS, SHORTHANDS, RunConfig, check_resumable, defaults, load_config
from trainers.devices import use_all_cores
from trainers.progress import INTERRUPTED


def main(algorithm: str, args: list[str] | None = None) -> None:
    """Parse the command line, run, and leave with exit code 2 and one sentence when something given is wrong."""
    try:
        config = parse(algorithm, sys.argv[1:] if args is None else args)
        use_all_cores()
        from trainers.run import run

        interrupted = run(algorithm, config)
    except (ValueError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if interrupted:
        sys.exit(INTERRUPTED)


def parse(algorithm: str, args: list[str]) -> RunConfig:
    """Flags over the YAML entry of the environment; with --resume, over the config of the run."""
    env = flag_value(args, "--env")
    resume = flag_value(args, "--resume")
    prog = f"python -m trainers.{algorithm}"
    cls = CONFIGS[algorithm]
    if resume is None:
        default = defaults(algorithm, env or cls.env, flag_value(args, "--policy"))
        config = tyro.cli(cls, args=args, default=default, prog=prog, description=cls.__doc__)
        return _canonical(config)
    default = load_config(algorithm, Path(resume))
    stored = dataclasses.replace(default, resume=resume)
    config = _canonical(tyro.cli(cls, args=args, default=default, prog=prog, description=cls.__doc__))
    scheduled = any(str(value).startswith("lin_") for value in dataclasses.asdict(stored).values())
    if scheduled and config.generations > stored.generations:
        raise ValueError(
            f"generations was {stored.generations} in '{resume}' and cannot be {config.generations} when resuming because a "
            "schedule depends on it; leave the flag out, or start a new run."
        )
    check_resumable(stored, config, resume, ("progress", "track", "save_every"), ("generations",))
    return config


def _canonical(config: RunConfig) -> RunConfig:
    from policies.population import find_network
    from trainers.make_env import find_env_id

    if config.generations < 1:
        raise ValueError(f"generations={config.generations} must be at least 1.")
    if config.save_every < 1:
        raise ValueError(f"save_every={config.save_every} must be at least 1.")
    config = dataclasses.replace(config, env=find_env_id(config.env), policy=find_network(config.policy))
    return _expand(config)


def _expand(config: RunConfig) -> RunConfig:
    """Write the flags that are short for options of the network out in `policy_kwargs`."""
    from policies.population import NETWORKS

    options = dict(config.policy_kwargs)
    written: dict[str, Any] = {"policy_kwargs": options} | dict.fromkeys(SHORTHANDS)
    known = list(inspect.signature(NETWORKS[config.policy]).parameters)[2:]
    for name in SHORTHANDS:
        value = getattr(config, name)
        if value is None:
            continue
        flag = "--" + name.replace("_", "-")
        if name not in known:
            raise ValueError(f"{flag} is for Hebbian networks; {config.policy} has the options {', '.join(known)}.")
        if options.get(name, value) != value:
            raise ValueError(f"{flag} {value} contradicts {name}:{options[name]} in policy_kwargs; leave one of them out.")
        options[name] = value
    return dataclasses.replace(config, **written)


def flag_value(args: list[str], flag: str) -> Any:
    """The value of a flag that decides the defaults, before the rest is parsed."""
    for i, word in enumerate(args):
        if word == flag and i + 1 < len(args):
            return args[i + 1]
        if word.startswith(flag + "="):
            return word.split("=", 1)[1]
    return None
