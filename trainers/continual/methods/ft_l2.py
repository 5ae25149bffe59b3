"""Fine-tuning near the last task's parameters."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from trainers.continual.methods.base import Judge, Method, Size, count_numbers, snapshot, squared_distance

if TYPE_CHECKING:
    from trainers.continual.sac import ContinualSAC


class FineTuneL2(Method):
    """One actor, pulled towards where it was after the last task: adds coefficient * sum (theta - theta*)^2.

    :param coefficient: weight of the penalty, at least 0
    """

    def __init__(self, *args: Any, coefficient: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if coefficient < 0:
            raise ValueError(f"coefficient={coefficient} must be at least 0.")
        self.coefficient = coefficient
        self.anchor = snapshot(self.actor)

    def loss(self, observations: Tensor) -> Tensor | None:
        return None if self.task == 0 else self.coefficient * squared_distance(self.actor, self.anchor)

    def after_task(self, learner: "ContinualSAC", judge: Judge) -> None:
        self.anchor = snapshot(self.actor)

    def size(self) -> Size:
        count = count_numbers(self.actor)
        return Size(2 * count, count)
