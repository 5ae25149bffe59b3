"""TD3+BC (Fujimoto & Gu, NeurIPS 2021, arXiv 2106.06860)."""

from typing import Any, ClassVar

import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor
from torch.nn import functional

from trainers.offline.algorithm import OfflineAlgorithm
from trainers.offline.bc import ACTORS
from trainers.offline.dataset import Batch


class TD3BC(OfflineAlgorithm):
    """TD3 whose actor also imitates the dataset. The critics learn as TD3's, from min_k Q'_k(s', actor'(s') + clipped
    noise); in every `policy_delay`-th step the targets move and the actor descends

        -alpha / mean |Q1(s, actor(s))| * mean Q1(s, actor(s)) + mean (actor(s) - a)^2

    The arguments are those of `OfflineAlgorithm`, and:

    :param alpha: weight of the values
    :param policy_delay: critic's steps for one of the actor
    :param target_noise: standard deviation of the noise on target actions, in half ranges of the actions
    :param target_noise_clip: its bound
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = ACTORS
    optimizers = ("critic", "actor")
    policy: Any

    def __init__(
        self,
        *args: Any,
        alpha: float = 2.5,
        policy_delay: int = 2,
        target_noise: float = 0.2,
        target_noise_clip: float = 0.5,
        **kwargs: Any,
    ) -> None:
        if alpha < 0 or policy_delay < 1 or target_noise < 0 or target_noise_clip < 0:
            raise ValueError(
                f"alpha={alpha}, target_noise={target_noise} and target_noise_clip={target_noise_clip} must be at least 0, "
                f"policy_delay={policy_delay} at least 1."
            )
        self.alpha, self.policy_delay = alpha, policy_delay
        self.target_noise, self.target_noise_clip = target_noise, target_noise_clip
        super().__init__(*args, **kwargs)

    def arguments(self) -> dict[str, Any]:
        own = ("alpha", "policy_delay", "target_noise", "target_noise_clip")
        return super().arguments() | {name: getattr(self, name) for name in own}

    def _update(self, batch: Batch) -> dict[str, Tensor]:
        policy = self.policy
        with torch.no_grad():
            noise = (torch.randn_like(batch.actions) * self.target_noise).clamp(
                -self.target_noise_clip, self.target_noise_clip
            )
            actions = (policy.actor_target(batch.next_observations) + noise).clamp(-1.0, 1.0)
            q1, q2 = policy.critic_target(batch.next_observations, actions)
            target = batch.rewards + self.gamma * batch.not_done * torch.minimum(q1, q2)
        values = policy.critic(batch.observations, batch.actions)
        critic_loss = functional.mse_loss(values[0], target) + functional.mse_loss(values[1], target)
        self._step("critic", critic_loss)
        logged = {"train/critic_loss": critic_loss.detach(), "train/q": values[0].detach().mean()}
        if self.num_timesteps % self.policy_delay == 0:
            chosen = policy.actor(batch.observations)
            q = policy.critic.q1_forward(batch.observations, chosen)
            imitation = functional.mse_loss(chosen, batch.actions)
            self._step("actor", imitation - self.alpha * q.mean() / q.abs().mean().detach())
            self._move_target(policy.critic, policy.critic_target)
            self._move_target(policy.actor, policy.actor_target)
            logged["train/imitation_loss"] = self.policy_delay * imitation.detach()  # a mean over all steps is taken
        return logged
