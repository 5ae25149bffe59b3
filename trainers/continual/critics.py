"""All critics of SAC in one stack: as many products as one critic has, each over all of them."""

from typing import Any

import torch
from stable_baselines3.common.policies import BaseModel, ContinuousCritic
from torch import Tensor, nn


class StackedCritics(BaseModel):
    """The MLPs of a critic with their weights side by side; values and gradients are those of the separate ones.

    Layer i of all K critics is h (K, B, in) -> h W_i + b_i, with W_i (K, in, out) and b_i (K, 1, out).

    :param critic: whose weights are taken; it must have `is_stackable`
    :param precision: of products between hidden layers: "float32" or "bfloat16"; features come in and values go out in
        float32 products
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, critic: ContinuousCritic, precision: str = "float32") -> None:
        super().__init__(
            critic.observation_space,
            critic.action_space,
            features_extractor=critic.features_extractor,
            normalize_images=critic.normalize_images,
        )
        nets: Any = critic.q_networks
        linear = [[layer for layer in net if isinstance(layer, nn.Linear)] for net in nets]
        layers = list(zip(*linear, strict=True))
        self.activations = [layer for layer in nets[0] if not isinstance(layer, nn.Linear)]
        self.hidden = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self.weights = nn.ParameterList(torch.stack([x.weight.detach().T for x in same]) for same in layers)
        self.biases = nn.ParameterList(torch.stack([x.bias.detach()[None] for x in same]) for same in layers)

    def forward(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, ...]:
        """The value (B, 1) by each critic."""
        features = self.extract_features(obs, self.features_extractor)  # type: ignore[arg-type]
        pair = torch.cat([features, actions], dim=1)
        weights, biases = list(self.weights), list(self.biases)  # a slice of a ParameterList is a new module
        h = torch.baddbmm(biases[0], pair.expand(len(weights[0]), -1, -1), weights[0])
        for activation, w, b in zip(self.activations[:-1], weights[1:-1], biases[1:-1], strict=True):
            h = torch.baddbmm(b.to(self.hidden), activation(h).to(self.hidden), w.to(self.hidden))
        return torch.baddbmm(biases[-1], self.activations[-1](h).float(), weights[-1]).unbind()


def is_stackable(critic: ContinuousCritic) -> bool:
    """Whether it is made of MLPs with nothing to learn between their linear layers; spiking critics are not."""
    return all(
        isinstance(net, nn.Sequential)
        and len(net) > 1
        and all(isinstance(layer, nn.Linear) or not list(layer.parameters()) for layer in net)
        for net in critic.q_networks
    )
