"""TD3 for spiking actors, with an ordinary network as the target actor (Xu et al., NeurIPS 2025, arXiv 2505.24161)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from stable_baselines3 import TD3
from torch import Tensor, nn
from torch.nn import functional

import policies  # noqa: F401  (the names of the spiking policies)


class ProxyTarget(nn.Module):
    """Stands in the place of TD3's target actor. It acts by a ReLU network that is fitted to the actor, and what TD3
    averages into `parameters()` still goes to the target actor itself."""

    def __init__(self, actor: Any, target: nn.Module, net_arch: Sequence[int], learning_rate: float) -> None:
        super().__init__()
        actions = actor.action_space.shape[0]
        sizes = [actor.features_dim, *net_arch]
        hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.net = nn.Sequential(*hidden, nn.Linear(sizes[-1], actions), nn.Tanh()).to(actor.device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=learning_rate)
        self._others = (actor, target)  # in a tuple, so that they are no part of this module's state

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        return self._others[1].parameters(recurse)

    def features(self, observations: Any) -> Tensor:
        """What the actor's spiking layers see."""
        actor = self._others[0]
        features: Tensor = actor.extract_features(observations, actor.features_extractor)
        return features

    @torch.no_grad()
    def forward(self, observations: Any) -> Tensor:
        actions: Tensor = self.net(self.features(observations))
        return actions

    def fit(self, observations: Any) -> float:
        """One step towards the actor's actions; the mean squared error before it."""
        with torch.no_grad():
            features = self.features(observations)
            actions = self._others[0].mu(features)
        loss = functional.mse_loss(self.net(features), actions)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class SpikingTD3(TD3):
    """TD3 whose critics learn from the actions of a continuous proxy of the spiking actor.

    Weights that move slowly do not make a spiking target actor act steadily, since its spikes come and go; the proxy's
    actions change as slowly as its fit does. All arguments of `TD3` are taken besides these.

    :param proxy: whether to use the proxy; without it this is TD3
    :param proxy_arch: sizes of the proxy's layers
    :param proxy_learning_rate: of the proxy's Adam
    :param proxy_updates: minibatches that the proxy is fitted to before each update of the critics
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        proxy: bool = True,
        proxy_arch: Sequence[int] = (512, 512),
        proxy_learning_rate: float = 1e-3,
        proxy_updates: int = 3,
        **kwargs: Any,
    ) -> None:
        if proxy_updates < 1 or proxy_updates != int(proxy_updates):
            raise ValueError(f"proxy_updates={proxy_updates} must be a whole number, 1 or more.")
        if not proxy_learning_rate > 0:
            raise ValueError(f"proxy_learning_rate={proxy_learning_rate} must be positive.")
        self.proxy = proxy
        self.proxy_arch = list(proxy_arch)
        self.proxy_learning_rate = proxy_learning_rate
        self.proxy_updates = proxy_updates
        super().__init__(policy, env, *args, **kwargs)

    def _create_aliases(self) -> None:
        super()._create_aliases()
        if self.proxy:
            self.proxy_target = ProxyTarget(self.actor, self.actor_target, self.proxy_arch, self.proxy_learning_rate)
            self.actor_target: Any = self.proxy_target

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        if not self.proxy:
            return super().train(gradient_steps, batch_size)
        for _ in range(gradient_steps):
            for _ in range(self.proxy_updates):
                batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr]
                loss = self.proxy_target.fit(batch.observations)
            super().train(1, batch_size)
        self.logger.record("train/proxy_loss", loss)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, variables = super()._get_torch_save_params()
        return [*names, *(["proxy_target", "proxy_target.optimizer"] if self.proxy else [])], variables
