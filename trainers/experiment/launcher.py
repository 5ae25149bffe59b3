"""Runs of a grid, some at a time."""

import fcntl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from trainers.experiment.folders import Progress, finished, read_progress
from trainers.experiment.grid import Run
from trainers.experiment.process import Interruptions, RunProcess
from trainers.experiment.slots import Slot
from trainers.progress import INTERRUPTED


@dataclass
class Job:
    """A run and what becomes of it.

    :param state: "waiting", "running", "finished", "failed", "stopped" or "pruned"
    :param message: why it failed
    """

    run: Run
    folder: Path
    state: str = "waiting"
    progress: Progress | None = None
    message: str = ""
    read: int = 0  # when the metrics were written that `progress` is of

    def refresh(self) -> None:
        """Read its progress, if there is news."""
        path = self.folder / "metrics.csv"
        written = path.stat().st_mtime_ns if path.exists() else 0
        if written != self.read:
            self.read = written
            self.progress = read_progress(self.folder)


def make_jobs(runs: Sequence[Run], root: Path) -> list[Job]:
    """The runs with what their folders tell."""
    jobs = [Job(run, root / run.path) for run in runs]
    for job in jobs:
        job.refresh()
        if finished(job.folder):
            job.state = "finished"
    return jobs


@contextmanager
def locked(root: Path) -> Iterator[IO[str]]:
    """Keep a folder from being used twice at once, also by runs that outlive the command; ValueError when it is."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"'{root}' is in use: another command, or runs that it left behind, are still at work.") from None
        yield lock


def launch(
    jobs: Iterable[Job],
    slots: Sequence[Slot],
    lock: IO[str],
    show: Callable[[], None],
    hopeless: Callable[[Job], bool] = lambda job: False,
    ended: Callable[[Job], None] = lambda job: None,
    pause: float = 0.5,
) -> bool:
    """Play jobs as slots become free; one that fails stops no other. False when Ctrl-C ended it early.

    Ctrl-C lets the runs finish their generation and save, a second hurries them, a third ends them.

    :param jobs: each is asked for when there is room for it
    :param show: called every `pause` seconds
    :param hopeless: whether to stop a running job
    """
    source = iter(jobs)
    free = list(slots)
    running: list[tuple[Job, RunProcess, Slot]] = []
    with Interruptions() as interruptions:
        while True:
            while free and not interruptions.count and (job := next(source, None)) is not None:
                slot = free.pop(0)
                running.append((job, RunProcess(job.run.algorithm, job.run.words, job.folder, slot, lock), slot))
                job.state = "running"
            if not running:
                break
            for job, process, slot in list(running):
                job.refresh()
                if job.state == "running" and hopeless(job):
                    job.state = "pruned"
                process.stop(max(interruptions.count, int(job.state == "pruned")))
                code = process.poll()
                if code is not None:
                    running.remove((job, process, slot))
                    free.append(slot)
                    _end(job, process, code, interruptions.count > 0)
                    ended(job)
            show()
            time.sleep(pause if running else 0)
    return not interruptions.count


def _end(job: Job, process: RunProcess, code: int, interrupted: bool) -> None:
    job.refresh()
    if code == 0:
        job.state = "finished"
    elif interrupted or (code == INTERRUPTED and job.state != "pruned"):
        job.state = "stopped"
    elif job.state != "pruned":
        job.state = "failed"
        job.message = process.last_line()
