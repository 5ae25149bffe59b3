"""Implicit Q-learning (Kostrikov et al., ICLR 2022, arXiv 2110.06169)."""

from typing import Any, ClassVar

import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn
from torch.nn import functional

import policies  # noqa: F401  (the names of the spiking policies)
from policies.sb3.td3 import SpikingTD3Policy
from trainers.offline.algorithm import OfflineAlgorithm
from trainers.offline.dataset import Batch

LOG_STD_BOUNDS = (-5.0, 2.0)
LARGEST_WEIGHT = 100.0  # of a transition in the actor's loss


class StateValue(nn.Module):
    """V(s), with a features extractor of its own."""

    def __init__(self, features_extractor: nn.Module, net: nn.Module) -> None:
        super().__init__()
        self.features_extractor, self.net = features_extractor, net

    def forward(self, observations: Tensor) -> Tensor:
        """(B, 1)"""
        out: Tensor = self.net(self.features_extractor(observations))
        return out


class IQLPolicy(TD3Policy):
    """TD3's policy with V(s) besides, an MLP of the critics' sizes, and a standard deviation for each action: actions are
    normally distributed around the actor's."""

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        extractor = self.make_features_extractor()
        arch: Any = self.critic_kwargs["net_arch"]
        self.value = StateValue(extractor, nn.Sequential(*create_mlp(extractor.features_dim, 1, arch))).to(self.device)
        actor: Any = self.actor
        actor.log_std = nn.Parameter(torch.zeros(self.action_space.shape, device=self.device))  # type: ignore[arg-type]
        for module in (self.value, actor):
            module.optimizer = self.optimizer_class(module.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]


class SpikingIQLPolicy(SpikingTD3Policy, IQLPolicy):
    """IQL's policy with a spiking actor; the critics may spike too."""


class IQL(OfflineAlgorithm):
    """Learns the values of the best actions in the dataset without trying any other. A gradient step:

        V:       mean |expectile - 1[u < 0]| u^2,   u = min_k Q'_k(s, a) - V(s)
        critics: sum_k mean (Q_k(s, a) - r - gamma (1 - terminated) V(s'))^2
        actor:   -mean min(exp(beta u), 100) log pi(a | s)
        targets: move by tau towards the critics

    The arguments are those of `OfflineAlgorithm`, and:

    :param expectile: 0.5 learns the values of the policy that acted, towards 1 those of the best actions
    :param beta: how much more the better actions are imitated
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": IQLPolicy, "SpikingPolicy": SpikingIQLPolicy}
    optimizers = ("value", "critic", "actor")
    policy: Any

    def __init__(self, *args: Any, expectile: float = 0.7, beta: float = 3.0, **kwargs: Any) -> None:
        if not 0 < expectile < 1 or beta < 0:
            raise ValueError(f"expectile={expectile} must be in (0, 1) and beta={beta} at least 0.")
        self.expectile, self.beta = expectile, beta
        super().__init__(*args, **kwargs)

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"expectile": self.expectile, "beta": self.beta}

    def _update(self, batch: Batch) -> dict[str, Tensor]:
        policy = self.policy
        with torch.no_grad():
            best = torch.minimum(*policy.critic_target(batch.observations, batch.actions))
        value = policy.value(batch.observations)
        u = best - value
        weight = torch.where(u < 0, 1.0 - self.expectile, self.expectile).detach()
        value_loss = (weight * u**2).mean()
        self._step("value", value_loss)

        with torch.no_grad():
            target = batch.rewards + self.gamma * batch.not_done * policy.value(batch.next_observations)
        values = policy.critic(batch.observations, batch.actions)
        critic_loss = functional.mse_loss(values[0], target) + functional.mse_loss(values[1], target)
        self._step("critic", critic_loss)

        imitated = torch.exp(self.beta * u.detach()).clamp(max=LARGEST_WEIGHT)
        std = policy.actor.log_std.clamp(*LOG_STD_BOUNDS).exp()
        likelihood = torch.distributions.Normal(policy.actor(batch.observations), std).log_prob(batch.actions)
        actor_loss = -(imitated * likelihood.sum(dim=1, keepdim=True)).mean()
        self._step("actor", actor_loss)
        self._move_target(policy.critic, policy.critic_target)
        return {
            "train/value_loss": value_loss.detach(),
            "train/critic_loss": critic_loss.detach(),
            "train/actor_loss": actor_loss.detach(),
            "train/q": values[0].detach().mean(),
        }
