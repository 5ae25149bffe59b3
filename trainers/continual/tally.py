"""What happens in the environments while a task is learned."""

from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from trainers.progress import Interruption


class Tally(BaseCallback):
    """Counts steps, notes the episodes that end, stops at Ctrl-C."""

    def __init__(self, task: int, bar: Any, interruption: Interruption) -> None:
        super().__init__()
        self.task, self.bar, self.interruption = task, bar, interruption
        self.taken = 0
        self.ended: list[tuple[int, float, float]] = []
        self.solved: np.ndarray | None = None

    def _on_step(self) -> bool:
        infos, dones = self.locals["infos"], self.locals["dones"]
        if self.solved is None:
            self.solved = np.full(len(infos), np.nan)
        self.taken += len(infos)
        self.bar.update(len(infos))
        for i, info in enumerate(infos):
            if "success" in info:
                self.solved[i] = np.fmax(self.solved[i], float(info["success"]))
            if dones[i]:
                self.ended.append((self.num_timesteps, info["episode"]["r"], self.solved[i]))
                self.solved[i] = np.nan
        return not self.interruption.requested

    def rows(self, points: int = 10) -> list[dict[str, Any]]:
        """Mean return and success of the episodes that ended, in up to so many groups by time."""
        rows = []
        ended = np.array(self.ended).reshape(-1, 3)
        for moments in np.array_split(np.unique(ended[:, 0]), points):
            if len(moments):
                group = ended[np.isin(ended[:, 0], moments)]
                row = {"task": self.task, "steps": int(group[-1, 0]), "return": float(group[:, 1].mean())}
                if np.isfinite(group[:, 2]).all():
                    row["success"] = float(group[:, 2].mean())
                rows.append(row)
        return rows
