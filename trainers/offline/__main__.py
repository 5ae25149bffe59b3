"""`python -m trainers.offline behavior | collect | train | evaluate | study`."""

import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium
import tyro
from tqdm import tqdm

import envs  # noqa: F401  (registers the environments)
from policies.names import choose
from trainers.checkpoint import CheckpointError
from trainers.offline import config as configs
from trainers.offline.config import BehaviorConfig, CollectConfig, EvaluateConfig, StudyConfig

INTERRUPTED = 130
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
    return collect_with(tyro.cli(CollectConfig, args=args, prog="python -m trainers.offline collect"))[1]


def collect_with(config: CollectConfig) -> tuple[str, int]:
    """The dataset's id, and an exit code."""
    from trainers.offline.behavior import find_policy
    from trainers.offline.collect import Exploration
    from trainers.offline.collect import collect as fill
    from trainers.sb3_model import load_model

    path, run = find_policy(Path(config.policy))
    algo = config.algo or run.get("algo")
    env_kwargs = run.get("env_kwargs", {}) | config.env_kwargs
    model, env_id, venv = load_model(path, config.env or run.get("env"), algo, 1, config.seed, env_kwargs)
    venv.close()
    env = gymnasium.make(env_id, **env_kwargs)
    dataset = config.dataset or f"{env_id}/{(algo or type(model).__name__).lower()}-v0"
    with tqdm(total=config.steps, unit="step", disable=not config.progress, dynamic_ncols=True) as bar:

        def progress(steps: int) -> None:
            bar.update(steps - bar.n)

        done = fill(
            model,
            env,
            dataset,
            config.steps,
            Exploration(config.noise, config.random_action),
            config.seed,
            source=str(config.policy),
            progress=progress,
        )
    if not done:
        print("Interrupted; what was played is kept. Give the same command again to go on.")
        return dataset, INTERRUPTED
    print(f"Dataset {dataset}: {config.steps:,} transitions.")
    print(f"Next: python -m trainers.offline train --mode acsf --env {env_id} --dataset {dataset}")
    return dataset, 0


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
