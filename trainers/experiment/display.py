"""Runs as a live table in a terminal, as lines elsewhere."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from trainers.experiment.launcher import Job

ORDER = ("running", "failed", "stopped", "waiting", "pruned", "finished")
COLOURS = {"running": "cyan", "failed": "red", "stopped": "yellow", "waiting": "dim", "pruned": "dim", "finished": "green"}


class Display:
    """Shows jobs whenever it is called with them.

    :param every: seconds between lines of the same running job, where there is no terminal
    """

    def __init__(self, console: Console | None = None, every: float = 60.0) -> None:
        self.console = console or Console(highlight=False)
        self.live = Live(console=self.console, refresh_per_second=2) if self.console.is_terminal else None
        self.every = every
        self.told: dict[int, tuple[str, float]] = {}

    def __enter__(self) -> Self:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def __call__(self, jobs: Sequence[Job]) -> None:
        if self.live is not None:
            self.live.update(to_table(jobs, self.console.height - 6))
            return
        for job in jobs:
            state, when = self.told.get(id(job), ("waiting", 0.0))
            due = job.state == "running" and time.monotonic() - when > self.every
            if job.state != state or due:
                self.told[id(job)] = (job.state, time.monotonic())
                self.console.print(to_line(job), soft_wrap=True, markup=False)


def to_table(jobs: Sequence[Job], rows: int) -> Table:
    """At most so many rows, those that are running first."""
    counts = Counter(job.state for job in jobs)
    caption = ", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state])
    table = Table(caption=caption, box=None, header_style="bold", caption_justify="left")
    table.add_column("run", no_wrap=True)
    table.add_column("state")
    for name in ("generation", "env steps", "return", "steps/s", "time left"):
        table.add_column(name, justify="right")
    for job in sorted(jobs, key=lambda job: ORDER.index(job.state))[: max(1, rows)]:
        table.add_row(job.run.path, f"[{COLOURS[job.state]}]{job.state}[/]", *_cells(job))
    return table


def to_line(job: Job) -> str:
    """All about a job in one line."""
    names = ("generation", "env steps", "return", "steps/s", "left")
    told = [f"{name} {cell}" for name, cell in zip(names, _cells(job), strict=True) if cell]
    return ", ".join([f"{job.run.path}: {job.state}", *told]) + (f"; {job.message}" if job.message else "")


def _cells(job: Job) -> list[str]:
    p = job.progress
    if p is None:
        return [""] * 5
    reward = "" if p.reward is None else f"{p.reward:,.1f}"
    busy = job.state == "running"
    return [f"{p.generation}", f"{p.steps:,}", reward, f"{p.fps:,.0f}" if busy else "", _time(p.seconds_left) if busy else ""]


def _time(seconds: float) -> str:
    if seconds == float("inf"):
        return "-"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}"
