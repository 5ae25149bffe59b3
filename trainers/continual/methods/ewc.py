"""Elastic weight consolidation."""

from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.sac.policies import Actor
from torch import Tensor, nn

from trainers.continual.methods.base import Judge, Method, Size, count_numbers, named, snapshot, squared_distance

if TYPE_CHECKING:
    from trainers.continual.sac import ContinualSAC


class EWC(Method):
    """One actor, whose parameters are held where they matter to earlier tasks (Kirkpatrick et al. 2017).

    Adds coefficient * sum_theta F (theta - theta*)^2, with theta* from the end of the last task and F summed over tasks.
    Of a diagonal Gaussian policy with mean mu and standard deviation sigma,

        F = E_s max(sum_k [(d mu_k / d theta)^2 + 2 (d sigma_k / d theta)^2] / (sigma_k^2 + 1e-6), 1e-5)

    over states of the task's replay buffer (Wolczyk et al. 2021). The released code takes the first half of the means for
    means and the other half for standard deviations, so that these never count; here all outputs do.

    :param coefficient: weight of the penalty, at least 0
    :param samples: states for the expectation
    """

    def __init__(self, *args: Any, coefficient: float = 1.0, samples: int = 1024, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if coefficient < 0:
            raise ValueError(f"coefficient={coefficient} must be at least 0.")
        if samples < 1:
            raise ValueError(f"samples={samples} must be at least 1.")
        self.coefficient = coefficient
        self.samples = samples
        self.anchor = snapshot(self.actor)
        self.importance = snapshot(self.actor, torch.zeros_like)

    def loss(self, observations: Tensor) -> Tensor | None:
        return None if self.task == 0 else self.coefficient * squared_distance(self.actor, self.anchor, self.importance)

    def after_task(self, learner: "ContinualSAC", judge: Judge) -> None:
        assert learner.replay_buffer is not None
        found = fisher(self.actor, learner.replay_buffer.sample(self.samples).observations)
        for name, _ in named(self.actor):
            self.importance.get_buffer(name).add_(found.get_buffer(name))
        self.anchor = snapshot(self.actor)

    def size(self) -> Size:
        count = count_numbers(self.actor)
        return Size(3 * count, count)


def fisher(actor: Actor, observations: Tensor) -> nn.Module:
    """Diagonal of the Fisher information of an actor's Gaussian before squashing, a mean over observations (n, D)."""
    total = snapshot(actor, torch.zeros_like)
    names, parameters = zip(*named(actor), strict=True)
    for observation in observations:
        mean, log_std, _ = actor.get_action_dist_params(observation[None])
        std = log_std.exp()
        own = [torch.zeros_like(p) for p in parameters]
        for outputs, weight in ((mean, 1.0), (std, 2.0)):
            for k in range(outputs.shape[1]):
                gradients = torch.autograd.grad(outputs[0, k], parameters, retain_graph=True, allow_unused=True)
                scale = weight / (std[0, k].detach().square() + 1e-6)
                for sum_, gradient in zip(own, gradients, strict=True):
                    if gradient is not None:
                        sum_.addcmul_(gradient, gradient * scale)
        for name, sum_ in zip(names, own, strict=True):
            total.get_buffer(name).add_(sum_.clamp(min=1e-5) / len(observations))
    return total
