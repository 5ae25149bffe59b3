"""`python -m trainers.continual`."""

import dataclasses
import sys
from pathlib import Path

import gymnasium
import yaml
from stable_baselines3.common.logger import TensorBoardOutputFormat

import envs  # noqa: F401  (registers the environments)
from envs.continual.scenarios import load_scenario, scenario_names
from trainers.checkpoint import CheckpointError, write_atomically
from trainers.config import check_resumable
from trainers.continual.config import FREE, ContinualConfig, StudyConfig, parse, read_config, to_plain
from trainers.continual.methods import ANY_POLICY, METHODS
from trainers.make_env import versions
from trainers.progress import INTERRUPTED
from trainers.run import begin_folder

USAGE = """python -m trainers.continual --method rewire --scenario halfcheetah/forgetting    learn a scenario's tasks
python -m trainers.continual --method rewire --scenario halfcheetah/forgetting --profile quick
python -m trainers.continual study --scenario halfcheetah/forgetting --profile quick    all methods, and their report
python -m trainers.continual report runs/continual                                 compare methods
python -m trainers.continual play runs/continual/rewire_ant_transfer_1 --task 1 --video ant.mp4
python -m trainers.continual scenarios                                             list the scenarios
--help shows all options."""


def learn(config: ContinualConfig) -> int:
    """One run; exit code."""
    from trainers.continual.loop import ContinualRun

    run = ContinualRun(config)
    if config.resume is None:
        name = f"{config.method}_{run.scenario.name}"
        folder = begin_folder(config.folder, Path(config.log_folder) / "continual", name.replace("/", "_"))
    else:
        folder = Path(config.resume)
    output = TensorBoardOutputFormat(str(folder))
    run.open(folder, [output])
    if config.resume is None:
        header = {"algorithm": "continual", "config": to_plain(config), "versions": versions()}
        write_atomically(folder / "config.yml", yaml.safe_dump(header, sort_keys=False).encode())
    else:
        run.restore()
    count = len(run.scenario.tasks)
    print(f"{config.method} on {run.scenario.name}: {count} tasks of {run.budget:,} steps, {config.policy} -> {folder}")
    interrupted = run.go()
    output.close()
    if interrupted:
        print(f"Interrupted in task {run.task + 1} of {count}; what was learned since the last checkpoint is played again by: "
              f"python -m trainers.continual --resume {folder}")  # fmt: skip
        return INTERRUPTED
    from trainers.continual.results import finish

    finish(run)
    return 0


def study(args: list[str]) -> int:
    """Several methods and seeds in turn; those that are finished are left alone, and those that were stopped go on."""
    import tyro

    from trainers.continual.report import ReportConfig, compare

    config = tyro.cli(StudyConfig, args=args, prog="python -m trainers.continual study")
    root = Path(config.folder or f"runs/continual_study/{load_scenario(config.scenario).name.replace('/', '_')}")
    methods = config.methods or (tuple(METHODS) if config.policy == "MlpPolicy" else ANY_POLICY)
    shared = ["--scenario", config.scenario, "--profile", config.profile, "--policy", config.policy, *config.flags]
    for seed in config.seeds:
        for method in methods:
            folder = root / f"{method}_{seed}"
            own = parse(["--folder", str(folder), "--method", method, "--seed", str(seed), *shared])
            if (folder / "config.yml").is_file():
                check_resumable(read_config(folder), own, str(folder), FREE)
                own = dataclasses.replace(own, folder=None, resume=str(folder))
            if (folder / "result.json").is_file():
                continue
            if learn(dataclasses.replace(own, progress=config.progress)):
                print("The same command of the study goes on with the rest.")
                return INTERRUPTED
    compare(ReportConfig((str(root),)))
    return 0


def play(args: list[str]) -> int:
    import tyro

    from trainers.continual.play import PlayConfig, play_tasks

    play_tasks(tyro.cli(PlayConfig, args=args, prog="python -m trainers.continual play"))
    return 0


def report(args: list[str]) -> int:
    import tyro

    from trainers.continual.report import ReportConfig, compare

    compare(tyro.cli(ReportConfig, args=args, prog="python -m trainers.continual report"))
    return 0


def scenarios() -> int:
    for name in scenario_names():
        scenario = load_scenario(name)
        tasks = ", ".join(task.name for task in scenario.tasks)
        print(f"{name:30s}{scenario.n_timesteps:>10,} steps each: {tasks}")
    return 0


def main(args: list[str]) -> int:
    """Exit code; 2 with one sentence when something given is wrong."""
    try:
        if args[:1] == ["report"]:
            return report(args[1:])
        if args[:1] == ["study"]:
            return study(args[1:])
        if args[:1] == ["play"]:
            return play(args[1:])
        if args[:1] == ["scenarios"]:
            return scenarios()
        if not args:
            print(USAGE)
            return 2
        return learn(parse(args))
    except (ValueError, CheckpointError, FileNotFoundError, gymnasium.error.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before there was anything to save, or for the second time
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
