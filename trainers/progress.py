"""What a user sees of a run in progress, and how it is stopped."""

import signal
import threading
from typing import Any, Self

from stable_baselines3.common.logger import Logger
from tqdm import tqdm

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended after it had saved."""


class Interruption:
    """Turns the first Ctrl-C into a request to stop after the generation; the second interrupts as usual."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Self:
        self._previous: Any = None
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _request(self, *_: Any) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, self._previous)


class ProgressBar:
    """Progress by generations, or by environment steps, with return, env steps/s and time left."""

    def __init__(self, shown: bool, steps: int | None, generations: int | None, done_steps: int, done_generations: int):
        self.by_generation = generations is not None
        total, initial = (generations, done_generations) if generations is not None else (steps, done_steps)
        self.bar = tqdm(
            total=total,
            initial=initial,
            unit="generation" if self.by_generation else "step",
            unit_scale=not self.by_generation,
            disable=not shown,
            dynamic_ncols=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.close()

    def update(self, steps: int, generation: int, row: dict[str, float]) -> None:
        shown = f"return {row['rollout/ep_rew_mean']:.1f}"
        if "eval/mean_reward" in row:
            shown += f", deployed {row['eval/mean_reward']:.1f}"
        self.bar.set_postfix_str(f"{shown}, {row['time/fps']:,} env-steps/s", refresh=False)
        self.bar.update((generation if self.by_generation else steps) - self.bar.n)


def log_row(logger: Logger, row: dict[str, float], step: int, dump: bool) -> None:
    """Record a row of metrics, but the time that it took, and write the entry if it is due."""
    for name, value in row.items():
        if name != "time/seconds":
            logger.record(name, value)
    if dump:
        logger.dump(step=step)
