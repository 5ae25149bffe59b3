"""`python -m trainers.offline behavior | collect | train | evaluate | study`."""

import sys
from collections.abc import Callable

import gymnasium
import tyro

import envs  # noqa: F401  (registers the environments)
from policies.names import choose
from trainers.checkpoint import CheckpointError
from trainers.offline import config as configs
from trainers.offline.config import BehaviorConfig, CollectConfig, EvaluateConfig, StudyConfig
from trainers.progress import INTERRUPTED

USAGE = """python -m trainers.offline behavior --algo td3 --env Hopper-v5       train the policy that will fill the dataset
python -m trainers.offline collect runs/behavior/td3_Hopper-v5_1     fill a Minari dataset with what it does
python -m trainers.offline train --mode acsf --dataset Hopper-v5/td3-v0 --env Hopper-v5
python -m trainers.offline evaluate runs/offline/acsf_Hopper-v5_1    returns, scores, energy
python -m trainers.offline study --env Pendulum-v1                   all of it
Each has --help."""


def behavior(args: list[str]) -> int:
    from trainers.offline.behavior import train_behavior

    folder, interrupted = train_behavior(tyro.cli(BehaviorConfig, args=args, prog="python -m trainers.offline behavior"))
    print(f"Next: python -m trainers.offline collect {folder}")
    return INTERRUPTED if interrupted else 0


def collect(args: list[str]) -> int:
    from trainers.offline.collect import run_collection

    return run_collection(tyro.cli(CollectConfig, args=args, prog="python -m trainers.offline collect"))[1]


def train(args: list[str]) -> int:
    from trainers.offline.run import train as learn

    return INTERRUPTED if learn(configs.parse(args))[1] else 0


def evaluate(args: list[str]) -> int:
    from trainers.offline.evaluate import evaluate as score

    score(tyro.cli(EvaluateConfig, args=args, prog="python -m trainers.offline evaluate"))
    return 0


def study(args: list[str]) -> int:
    from trainers.offline.study import run_study

    return run_study(tyro.cli(StudyConfig, args=args, prog="python -m trainers.offline study"))


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "behavior": behavior,
    "collect": collect,
    "train": train,
    "evaluate": evaluate,
    "study": study,
}


def main(args: list[str]) -> int:
    """Exit code of a command; 2 with one sentence when something given is wrong."""
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if args else 2
    try:
        return choose("command", args[0], COMMANDS)(args[1:])
    except (ValueError, CheckpointError, gymnasium.error.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
