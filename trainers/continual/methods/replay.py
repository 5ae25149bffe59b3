"""Rehearsal of earlier tasks' actions."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from trainers.continual.methods.base import Judge, Method, Size, count_numbers

if TYPE_CHECKING:
    from trainers.continual.sac import ContinualSAC


class Replay(Method):
    """One actor that goes on imitating what it did in states of earlier tasks (ClonEx-SAC's cloning, arXiv 2209.13900).

    After each task, states of its replay buffer are kept with the means and log standard deviations of the actor; then
    coefficient * E KL(kept || present), over a batch of what is kept, is added. The actor is not told which task a state is
    of, so tasks that want different actions in one state contradict each other.

    :param coefficient: weight of the divergence, at least 0
    :param samples: states kept of each task
    :param batch_size: kept states in an update
    """

    states: Tensor
    means: Tensor
    log_stds: Tensor

    def __init__(
        self, *args: Any, coefficient: float = 1.0, samples: int = 10_000, batch_size: int = 256, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if coefficient < 0:
            raise ValueError(f"coefficient={coefficient} must be at least 0.")
        for name, value in (("samples", samples), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1.")
        self.coefficient = coefficient
        self.samples = samples
        self.batch_size = batch_size
        self._allocate(0)

    def loss(self, observations: Tensor) -> Tensor | None:
        if not len(self.states):
            return None
        rows = torch.randint(len(self.states), (self.batch_size,), device=self.states.device)
        mean, log_std, _ = self.actor.get_action_dist_params(self.states[rows])
        kept = Normal(self.means[rows], self.log_stds[rows].exp())
        return self.coefficient * kl_divergence(kept, Normal(mean, log_std.exp())).sum(1).mean()

    @torch.no_grad()
    def after_task(self, learner: "ContinualSAC", judge: Judge) -> None:
        assert learner.replay_buffer is not None
        states = learner.replay_buffer.sample(self.samples).observations
        mean, log_std, _ = self.actor.get_action_dist_params(states)
        self.states = torch.cat([self.states, states])
        self.means = torch.cat([self.means, mean])
        self.log_stds = torch.cat([self.log_stds, log_std])

    def size(self) -> Size:
        count = count_numbers(self.actor)
        return Size(count + self.states.numel() + self.means.numel() + self.log_stds.numel(), count)

    def memo(self) -> dict[str, Any]:
        return super().memo() | {"kept": len(self.states)}

    def restore(self, memo: dict[str, Any]) -> None:
        super().restore(memo)
        self._allocate(memo["kept"])

    def _allocate(self, rows: int) -> None:
        space, actions = self.actor.observation_space, self.actor.action_space
        assert space.shape is not None
        self.register_buffer("states", torch.zeros(rows, *space.shape))
        self.register_buffer("means", torch.zeros(rows, *actions.shape))
        self.register_buffer("log_stds", torch.zeros(rows, *actions.shape))
