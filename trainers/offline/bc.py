"""Behavioural cloning."""

from typing import Any, ClassVar

from stable_baselines3 import TD3
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor
from torch.nn import functional

import policies  # noqa: F401  (the names of the spiking policies)
from trainers.offline.algorithm import OfflineAlgorithm
from trainers.offline.dataset import Batch

ACTORS: dict[str, type[BasePolicy]] = {name: TD3.policy_aliases[name] for name in ("MlpPolicy", "SpikingPolicy")}
"""Policies of TD3, whose actors end in tanh."""


class BC(OfflineAlgorithm):
    """The actor imitates the dataset: mean (actor(s) - a)^2. The policies are TD3's; their critics are not used.

    The arguments are those of `OfflineAlgorithm`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = ACTORS
    optimizers = ("actor",)
    policy: Any

    def _update(self, batch: Batch) -> dict[str, Tensor]:
        loss = functional.mse_loss(self.policy.actor(batch.observations), batch.actions)
        self._step("actor", loss)
        return {"train/actor_loss": loss.detach()}
