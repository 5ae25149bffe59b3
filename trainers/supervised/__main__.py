"""`python -m trainers.supervised --task robot`, `--task shd`, `plot RUN` and `synthetic-shd FOLDER`."""

import dataclasses
import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml
from tqdm import tqdm

from policies.names import choose
from trainers import checkpoint
from trainers.checkpoint import CheckpointError, write_atomically
from trainers.cli import flag_value
from trainers.config import check_resumable, from_dict
from trainers.make_env import versions
from trainers.progress import INTERRUPTED
from trainers.run import new_folder
from trainers.supervised.config import CONFIGS, SupervisedConfig
from trainers.supervised.loop import Trainer
from trainers.supervised.policy import drive
from trainers.supervised.shd_files import write_synthetic
from trainers.supervised.tasks import RobotTask, make_task
from trainers.torch_state import load_module

USAGE = """python -m trainers.supervised --task robot|shd [OPTIONS]     learn (--help lists a task's options)
python -m trainers.supervised plot RUN                       draw all figures of a run
python -m trainers.supervised synthetic-shd FOLDER           write made-up digits, to try --task shd without the download"""


@dataclasses.dataclass
class SyntheticConfig:
    """Write made-up digits in the layout of the Spiking Heidelberg Digits."""

    folder: Annotated[str, tyro.conf.Positional]
    """Where shd_train.h5 and shd_test.h5 go."""
    n_train: int = 4000
    """Samples of the training file."""
    n_test: int = 1000
    """Samples of the test file."""
    seed: int = 0
    """Seed of the digits."""
    density: float = 1.0
    """How many times as many spikes as 880 to 1,760 a digit."""


@dataclasses.dataclass
class PlotConfig:
    """Draw all figures of a run into its folder's plots/, and report.html that holds them."""

    run: Annotated[str, tyro.conf.Positional]
    """Folder of the run."""


def main(args: list[str]) -> int:
    """Exit code of a command."""
    try:
        if args[:1] == ["plot"]:
            from trainers.supervised.plots import report

            config: Any = tyro.cli(PlotConfig, args=args[1:], prog="python -m trainers.supervised plot")
            print(f"Report: {report(Path(config.run))}")
            return 0
        if args[:1] == ["synthetic-shd"]:
            config = tyro.cli(SyntheticConfig, args=args[1:], prog="python -m trainers.supervised synthetic-shd")
            for path in write_synthetic(config.folder, config.n_train, config.n_test, config.seed, config.density):
                print(f"Wrote {path}: MADE-UP digits, on which accuracies mean nothing.")
            return 0
        return learn(args)
    except (ValueError, FileNotFoundError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def learn(args: list[str]) -> int:
    """Learn, or go on, in a run's folder."""
    task, resume = flag_value(args, "--task"), flag_value(args, "--resume")
    if task is None:
        print(USAGE)
        return 0 if {"-h", "--help"} & set(args) else 2
    cls = choose("task", task, CONFIGS)
    rest = [word for before, word in pairwise(["", *args]) if "--task" not in (before, word.split("=")[0])]
    default = cls() if resume is None else read_config(Path(resume))[1]
    config = tyro.cli(cls, args=rest, default=default, prog=f"python -m trainers.supervised --task {task}")
    if resume is None:
        learner = make_task(config)
        folder = new_folder(Path(config.log_folder) / "supervised", task)
        trainer = Trainer(learner, config, folder)
    else:
        folder = Path(resume)
        growing = () if config.schedule == "cosine" else ("epochs",)
        check_resumable(default, config, str(folder), ("resume", "progress", "device"), growing)
        trainer = Trainer(make_task(config), config, folder)
        if (folder / "checkpoint.zip").exists():
            trainer.load(folder / "checkpoint.zip")
    stored = {key: value for key, value in dataclasses.asdict(config).items() if key != "resume"}
    header = {"task": task, "config": stored, "versions": versions()}
    write_atomically(folder / "config.yml", yaml.safe_dump(header, sort_keys=False).encode())
    parameters = sum(p.numel() for p in trainer.model.parameters())
    print(f"{task}: {type(trainer.model).__name__}, {parameters:,} parameters -> {folder}")
    with tqdm(
        total=config.epochs, initial=trainer.epoch, unit="epoch", disable=not config.progress, dynamic_ncols=True
    ) as bar:

        def progress(epoch: int, row: dict[str, float]) -> None:
            score = trainer.task.score
            bar.set_postfix_str(
                f"{score} {row[f'train/{score}']:.4g}, validation {row[f'validation/{score}']:.4g}", refresh=False
            )
            bar.update(epoch - bar.n)

        interrupted = trainer.fit(progress)
    if interrupted:
        again = f"python -m trainers.supervised --task {task} --resume {folder}"
        print(f"Interrupted after epoch {trainer.epoch}. Go on with: {again}")
        return INTERRUPTED
    finish(trainer, folder)
    return 0


def finish(trainer: Trainer, folder: Path) -> None:
    """Print what the best epoch's network makes of the test set, and of the robot where it can drive it."""
    arrays, meta = checkpoint.load(folder / "best_model.zip")
    load_module(trainer.model, arrays, folder / "best_model.zip")
    result: dict[str, Any] = trainer.evaluate("test")
    score = trainer.task.score
    print(
        f"Test {score}: {result[score]:.6g} with the network of epoch {meta['epoch']} (best on validation: {meta[score]:.6g})"
    )
    if isinstance(trainer.task, RobotTask):
        targets = trainer.task.compared(trainer.task.dataset("test").targets.swapaxes(0, 1))
        variance = float(targets.var(dim=(0, 1)).sum())
        result["relative"] = result[score] / variance
        print(f"That is {result['relative']:.3g} of the variance of the targets.")
        if (trainer.task.config.direction, trainer.task.config.preset) == ("inverse", "env"):
            print("RobotTrajectory-v0, 100 movements:")
            for name, (mean, std) in drive(trainer.task.model).items():
                print(f"  {name:36s}{mean:8.1f} +- {std:.1f}")
                result[f"return/{name}"] = mean
    write_atomically(folder / "results.yml", yaml.safe_dump(result, sort_keys=False).encode())
    print(f"Figures: python -m trainers.supervised plot {folder}")


def read_config(folder: Path) -> tuple[str, SupervisedConfig]:
    """Task and config of a run."""
    path = folder / "config.yml"
    if not path.is_file():
        raise ValueError(f"'{folder}' is not a run folder: it has no config.yml.")
    data = yaml.safe_load(path.read_text())
    return data["task"], from_dict(choose("task", str(data.get("task")), CONFIGS), data["config"], str(path))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
