"""`python -m trainers.zoo train --algo ec --env CartPole-v1`: rl_zoo3's commands with our environments, policies and
algorithms."""

import functools
import runpy
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import policies  # noqa: F401  (the names of the spiking policies)
from policies.names import choose
from trainers.checkpoint import CheckpointError
from trainers.cli import flag_value
from trainers.devices import use_all_cores
from trainers.run import ALGORITHMS
from trainers.spiking_td3 import SpikingTD3

SCRIPTS = {
    name: f"rl_zoo3.{name}"
    for name in ("train", "enjoy", "record_video", "record_training", "push_to_hub", "load_from_hub", "benchmark")
} | {name: f"rl_zoo3.plots.{name}" for name in ("all_plots", "plot_train", "plot_from_file")}
"""Commands, and the modules of rl_zoo3 that they run."""

FILES = {"spikingtd3": "td3"}
"""Algorithms whose entries are in the file of another one."""


def main(args: list[str] | None = None) -> None:
    """Run a command of rl_zoo3; exit code 2 with one sentence when something given to us is wrong.

    For `train`, the hyper-parameters are those of zoo_configs/<algo>.yml, unless `--conf-file` names others or there is no
    such file. All other flags are rl_zoo3's.
    """
    words = sys.argv[1:] if args is None else args
    if not words or words[0] in ("-h", "--help"):
        print(f"python -m trainers.zoo COMMAND [FLAGS of rl_zoo3]\n\nCommands: {', '.join(SCRIPTS)}")
        return
    try:
        module = choose("command", words[0], SCRIPTS)
        manager = register()
        if words[0] == "train":
            words = [*words, *_conf_file(words)]
        use_all_cores()
        sys.argv = [f"python -m trainers.zoo {words[0]}", *words[1:]]
        if words[0] == "train":
            import rl_zoo3.train

            rl_zoo3.train.ExperimentManager = manager  # type: ignore[misc, assignment]
            rl_zoo3.train.train()
        else:
            _run(module)
    except (ValueError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _run(module: str) -> None:
    """Run a module of rl_zoo3, some of which need packages that it does not install."""
    try:
        runpy.run_module(module, run_name="__main__")
    except ImportError as error:
        hint = "; pip install 'rl_zoo3[plots]'" if ".plots." in module else ""
        raise ValueError(f"{module} cannot start: {error}{hint}.") from error


def register() -> Callable[..., Any]:
    """Teach rl_zoo3 our algorithms; what stands for its ExperimentManager when one of them is trained."""
    try:
        from rl_zoo3 import ALGOS
        from rl_zoo3.exp_manager import ExperimentManager

        from trainers.zoo_manager import EvolutionManager
    except ImportError as error:
        raise ValueError(f"{error}: this command needs rl_zoo3; pip install 'spikegym[zoo]'.") from error
    ALGOS.update(ALGORITHMS)
    ALGOS["spikingtd3"] = SpikingTD3

    @functools.wraps(ExperimentManager, updated=())
    def manager(args: Any, algo: str, *others: Any, **kwargs: Any) -> ExperimentManager:
        cls = EvolutionManager if algo in ALGORITHMS else ExperimentManager
        return cls(args, algo, *others, **kwargs)

    return manager


def _conf_file(words: list[str]) -> list[str]:
    """The flag that names our file of hyper-parameters, where there is one and no other is asked for."""
    if any(word.split("=")[0] in ("-c", "--conf-file", "--yaml-file") for word in words):
        return []
    algo = flag_value(words, "--algo") or "ppo"
    path = Path(str(resources.files("zoo_configs").joinpath(f"{FILES.get(algo, algo)}.yml")))
    return ["--conf-file", str(path)] if path.is_file() else []


if __name__ == "__main__":
    main()
