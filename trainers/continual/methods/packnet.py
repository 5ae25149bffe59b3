"""PackNet: a share of the weights for every task."""

from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.sac.policies import Actor
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from trainers.continual.methods.base import Judge, Method, Size, count_numbers, frozen_copy

if TYPE_CHECKING:
    from trainers.continual.sac import ContinualSAC

FREE = -1


class PackNet(Method):
    """One network whose weights are given to tasks for good (Mallya & Lazebnik 2018, as in Continual World).

    A task learns in all weights that no earlier task owns. Afterwards, of each layer's free weights, those of the largest
    magnitude are its own, 1 / (tasks left + 1) of them; the rest is set to zero, and the task goes on learning with its own
    alone on the same replay buffer. A task acts with the weights owned by it and by tasks before it. Heads (means and log
    standard deviations) are one a task; biases, and all else that is no kernel of a linear or convolutional layer, learn in
    the first task only. An actor whose head is part of its network, as a spiking one's, shares its last layer like any other.

    :param retrain_updates: updates of SAC after the pruning
    :param max_grad_norm: longest gradient of the actor (Continual World's 2e-5), None for any
    """

    def __init__(self, *args: Any, retrain_updates: int = 100_000, max_grad_norm: float | None = 2e-5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if retrain_updates < 0:
            raise ValueError(f"retrain_updates={retrain_updates} must be at least 0.")
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise ValueError(f"max_grad_norm={max_grad_norm} must be positive, or None.")
        self.retrain_updates = retrain_updates
        self.max_grad_norm = max_grad_norm
        self.heads = nn.ModuleList()
        self.owners = nn.Module()
        self.packing = False
        for name, kernel in self._kernels(self.actor).items():
            self.owners.register_buffer(name.replace(".", "__"), torch.full(kernel.shape, FREE, dtype=torch.int8))

    def before_task(self, task: int, judge: Judge) -> None:
        super().before_task(task, judge)
        if task > 0:
            self._freeze_rest()
            if isinstance(self.actor.mu, nn.Linear):
                fresh = self.make_actor()
                self.actor.mu, self.actor.log_std = fresh.mu, fresh.log_std

    def _freeze_rest(self) -> None:
        """What is neither matrix nor head stays as the first task left it."""
        kernels = self._kernels(self.actor)
        for name, parameter in self.actor.named_parameters():
            parameter.requires_grad_(name in kernels or name.split(".")[0] in HEADS)

    def constrain(self) -> None:
        wanted = self.task if self.packing else FREE
        for name, kernel in self._kernels(self.actor).items():
            if kernel.grad is not None:
                kernel.grad.mul_(self.owner(name) == wanted)
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.trained(), self.max_grad_norm)

    def after_task(self, learner: "ContinualSAC", judge: Judge) -> None:
        share = 1 / (self.n_tasks - self.task)
        for name, kernel in self._kernels(self.actor).items():
            pack(kernel, self.owner(name), self.task, share)
        if self.task + 1 < self.n_tasks and self.retrain_updates:
            self.packing = True
            learner.attach()
            learner.train(self.retrain_updates, learner.batch_size)
            self.packing = False
        if isinstance(self.actor.mu, nn.Linear):
            self.heads.append(_head(self.actor))

    def actor_for(self, task: int) -> Actor:
        actor = frozen_copy(self.actor)
        task = min(task, self.task)
        for name, kernel in self._kernels(actor).items():
            owner = self.owner(name)
            kernel.data.mul_((owner <= task) & ((owner != FREE) | (task == self.task)))
        if 0 <= task < len(self.heads):
            for name, value in _head(actor).state_dict().items():
                value.copy_(self.heads[task].state_dict()[name])
        return actor

    def owner(self, name: str) -> Tensor:
        """Which task owns each weight of a matrix; -1 if none does."""
        return self.owners.get_buffer(name.replace(".", "__"))

    def size(self) -> Size:
        weights = count_numbers(self.actor, *self.heads[: max(self.task, 0)])
        masks = sum(self.owner(name).numel() for name in self._kernels(self.actor))
        return Size(weights + masks, weights + masks)

    def restore(self, memo: dict[str, Any]) -> None:
        super().restore(memo)
        if isinstance(self.actor.mu, nn.Linear):
            self.heads.extend(_head(frozen_copy(self.actor)) for _ in range(memo["heads"]))
        if self.task > 0:
            self._freeze_rest()

    def memo(self) -> dict[str, Any]:
        return super().memo() | {"heads": len(self.heads)}

    def _kernels(self, actor: Actor) -> dict[str, nn.Parameter]:
        layers: dict[str, Any] = {
            name: layer for name, layer in actor.named_modules() if isinstance(layer, nn.Linear | _ConvNd)
        }
        return {f"{name}.weight": layer.weight for name, layer in layers.items() if name not in HEADS}


HEADS = ("mu", "log_std")


def pack(kernel: nn.Parameter, owner: Tensor, task: int, share: float) -> None:
    """Give a task the largest of the free weights, and set the others to zero."""
    free = owner == FREE
    keep = int(free.sum() * share + 0.5)
    magnitudes = torch.where(free, kernel.detach().abs(), -1.0).flatten()
    own = torch.zeros_like(magnitudes, dtype=torch.bool)
    own[magnitudes.topk(keep).indices] = True
    own = own.reshape(owner.shape)
    owner[own] = task
    kernel.data[free & ~own] = 0.0


def _head(actor: Actor) -> nn.ModuleList:
    heads: Any = actor.mu, actor.log_std
    return nn.ModuleList(heads)
