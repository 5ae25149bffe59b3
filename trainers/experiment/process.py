"""A run as a process of its own, in a folder and with a log of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Self

from trainers.experiment.commands import COMMANDS
from trainers.experiment.folders import begun
from trainers.experiment.slots import Slot


class RunProcess:
    """The command of an algorithm with these words, or `--resume` where its folder holds a run already.

    It is in a session of its own, so that Ctrl-C reaches it only through `stop`.

    :param lock: an open file that stays open as long as the process lives
    """

    def __init__(self, algorithm: str, words: list[str], folder: Path, slot: Slot, lock: IO[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log.txt"
        self.asked = 0
        words = ["--resume", str(folder)] if begun(folder) else [*words, "--folder", str(folder)]
        line = [sys.executable, "-m", *COMMANDS[algorithm].words, *words, "--no-progress"]
        with open(self.log, "a") as log, _on_cores(slot.cores):
            self.process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | slot.variables | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                pass_fds=(lock.fileno(),),
            )

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self.process.poll()

    def stop(self, urgency: int) -> None:
        """Ctrl-C once (it finishes its generation and saves) or twice (it does not); from 3 on, end it at once.

        Asking again for what was asked already does nothing.
        """
        while self.asked < urgency and self.poll() is None:
            self.asked += 1
            self.process.send_signal(signal.SIGINT if self.asked < 3 else signal.SIGKILL)

    def last_line(self) -> str:
        """The last line of the log that says something."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line), "it printed nothing")


class Interruptions:
    """Counts Ctrl-C (and the signal by which a cluster ends a job) instead of raising KeyboardInterrupt, which could come
    between the start of a process and the note that there is one."""

    def __enter__(self) -> Self:
        self.count = 0
        self._before = {number: signal.signal(number, self._add) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _add(self, *_: object) -> None:
        self.count += 1


class _on_cores:
    """Processes that are started here inherit these cores."""

    def __init__(self, cores: tuple[int, ...]) -> None:
        self.cores = cores

    def __enter__(self) -> None:
        if hasattr(os, "sched_setaffinity"):
            self.before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, self.cores)

    def __exit__(self, *_: object) -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.before)
