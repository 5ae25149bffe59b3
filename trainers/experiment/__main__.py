"""`python -m trainers.experiment ec_brax`: algorithms x environments x seeds from one YAML file."""

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from trainers.checkpoint import write_atomically
from trainers.experiment.commands import COMMANDS
from trainers.experiment.display import ORDER, Display
from trainers.experiment.grid import Run, expand
from trainers.experiment.launcher import Job, launch, locked, make_jobs
from trainers.experiment.reading import Description, find_file, read
from trainers.experiment.slots import Slot, make_slots
from trainers.progress import INTERRUPTED


@dataclass
class ExperimentConfig:
    """Play every algorithm in every environment with every seed, several at once, and go on where an earlier call was
    stopped.

    The runs are ordinary ones, in runs/<name>/<label>/<environment>/seed_<n>/ with a log.txt each. Ctrl-C lets them save;
    the same command goes on. `python -m trainers.report runs/<name>` compares them."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """YAML file, or the name of one of zoo_configs/experiments, such as ec_brax, hopper or offline_small."""
    overrides: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="KEY=VALUE")] = ()
    """What to change in it, such as common.n_timesteps=2e7 "seeds=[0, 1]"."""
    jobs: int | None = None
    """Runs at once (default: one a free GPU; without any, one for every two cores)."""
    cores_per_run: int | None = None
    """CPU cores of each (default: an equal share). A run of Brax on the CPU uses all that it gets; the result does not
    depend on it."""
    log_folder: str = "runs"
    """Everything is written to LOG_FOLDER/<name>/."""
    dry_run: bool = False
    """Only print the runs, their states and commands."""


def main(args: list[str] | None = None) -> None:
    """Exit code 2 with one sentence when something given is wrong, 1 when a run failed, 130 when Ctrl-C ended it."""
    config = tyro.cli(ExperimentConfig, args=args, prog="python -m trainers.experiment")
    try:
        sys.exit(experiment(config))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def experiment(config: ExperimentConfig) -> int:
    """Play, or print, the runs; the exit code."""
    description = read(find_file(config.file, "experiments"), config.overrides)
    runs = expand(description)
    slots = make_slots(config.jobs, config.cores_per_run)
    root = Path(config.log_folder) / description.values["name"]
    _check_folder(root, runs)
    if config.dry_run:
        _print_grid(make_jobs(runs, root), slots)
        return 0
    with locked(root) as lock:
        write_atomically(root / "experiment.yml", yaml.safe_dump(description.values, sort_keys=False).encode())
        jobs = make_jobs(runs, root)
        print(f"{len(runs)} runs, {len(slots)} at once -> {root}", flush=True)
        with Display() as display:
            display(jobs)
            left = [job for job in jobs if job.state != "finished"]
            complete = launch(left, slots, lock, lambda: display(jobs))
    return _conclude(jobs, root, complete)


def _conclude(jobs: Sequence[Job], root: Path, complete: bool) -> int:
    for job in jobs:
        if job.state == "failed":
            print(f"failed: {job.run.path}: {job.message} ({job.folder / 'log.txt'})", file=sys.stderr)
    counts = Counter(job.state for job in jobs)
    print(", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state]))
    if not complete:
        print("Interrupted; the same command goes on.")
        return INTERRUPTED
    print(f"Compare them: python -m trainers.report {root}")
    return 1 if counts["failed"] else 0


def _check_folder(root: Path, runs: Sequence[Run]) -> None:
    """The runs of the experiment that the folder holds must all be there, unchanged; others may have come."""
    manifest = root / "experiment.yml"
    if not manifest.is_file():
        if root.is_dir() and any(path.name != ".lock" for path in root.iterdir()):
            raise ValueError(f"'{root}' holds something else than an experiment; give this one another name.")
        return
    stored: dict[str, Any] = yaml.safe_load(manifest.read_text())
    words = {run.path: run.words for run in runs}
    for run in expand(Description(stored, {}, str(manifest))):
        if run.path not in words:
            raise ValueError(
                f"'{root}' holds another experiment, with the run {run.path} that this one lacks; give this one another name."
            )
        if run.words != words[run.path]:
            old, new = (shlex.join(x[4:]) for x in (run.words, words[run.path]))
            raise ValueError(
                f"'{root}' holds another experiment, in which {run.path} has '{old}' instead of '{new}'; give this one "
                "another name."
            )


def _print_grid(jobs: Sequence[Job], slots: Sequence[Slot]) -> None:
    for job in jobs:
        line = shlex.join([*COMMANDS[job.run.algorithm].words, *job.run.words])
        print(f"{job.folder}  {job.state}\n    python -m {line}")
    gpus = ", a GPU each" if "CUDA_VISIBLE_DEVICES" in slots[0].variables else ""
    print(f"{len(jobs)} runs, {len(slots)} at once on {len(slots[0].cores)} cores each{gpus}")


if __name__ == "__main__":
    main()
