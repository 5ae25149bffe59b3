"""Feature extractors that go with evolved networks."""

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from torch import Tensor, nn


class NormalizingExtractor(FlattenExtractor):
    """Flat observations minus `mean`, divided by `std`, clipped to [-10, 10]: what evolved networks see.

    Both are buffers (D,), 0 and 1 until `policies.bridge` fills them; training leaves them alone.
    """

    CLIP = 10.0

    mean: Tensor
    std: Tensor

    def __init__(self, observation_space: spaces.Space[Any]) -> None:
        super().__init__(observation_space)
        self.register_buffer("mean", torch.zeros(self.features_dim))
        self.register_buffer("std", torch.ones(self.features_dim))

    def forward(self, observations: Tensor) -> Tensor:
        x = (super().forward(observations) - self.mean) / self.std
        return x.clamp(-self.CLIP, self.CLIP)


class TanhCnn(BaseFeaturesExtractor):
    """The convolutions before Hebbian layers (Najarro & Risi, NeurIPS 2020), for images scaled to [0, 1].

    The whole image is resized to 84 x 84, bilinearly; then 6 filters of 3 x 3 and 8 of 5 x 5 with stride 2, each followed
    by tanh and the maxima of 2 x 2; no biases. (B, C, H, W) -> (B, 648), channel by channel. Filters start with variance
    1 / inputs.
    """

    SIDE = 84

    def __init__(self, observation_space: spaces.Space[Any], features_dim: int = 648) -> None:
        if not is_image_space(observation_space):
            raise ValueError(f"This policy takes images of bytes, not {observation_space}; use HebbianPolicy.")
        assert isinstance(observation_space, spaces.Box)
        super().__init__(observation_space, features_dim)
        self.convolutions = nn.Sequential(
            nn.Conv2d(observation_space.shape[0], 6, 3, bias=False),
            nn.Tanh(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 5, stride=2, bias=False),
            nn.Tanh(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        for weight in self.parameters():
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5)

    def forward(self, observations: Tensor) -> Tensor:
        resized = nn.functional.interpolate(observations, (self.SIDE, self.SIDE), mode="bilinear")
        out: Tensor = self.convolutions(resized)
        return out
