"""Changes to spoken digits that leave their meaning: for training alone."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Shifts and noise, drawn anew for every sample of every batch.

    :param shift_channels: all spikes move by up to that many channels, up or down; those that leave are lost
    :param jitter_channels: standard deviation in channels by which each step's spikes move besides
    :param shift_steps: all spikes move by up to that many steps, earlier or later
    :param noise: probability that a bin gets a spike of its own
    :param drop: probability that a spike is lost
    """

    shift_channels: int = 0
    jitter_channels: float = 0.0
    shift_steps: int = 0
    noise: float = 0.0
    drop: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shift_channels", "jitter_channels", "shift_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0.")
        for name in ("noise", "drop"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must lie in [0, 1].")

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Another version of the spikes (T, B, C)."""
        steps, batch, channels = x.shape

        def whole(most: int) -> Tensor:
            return torch.randint(-most, most + 1, (1, batch), generator=generator)

        if self.shift_channels or self.jitter_channels:
            by = (
                whole(self.shift_channels)
                + (self.jitter_channels * torch.randn(steps, batch, generator=generator)).round().long()
            )
            x = _moved(x, by[..., None].expand_as(x), torch.arange(channels).expand_as(x), 2)
        if self.shift_steps:
            by = whole(self.shift_steps)[..., None].expand_as(x)
            x = _moved(x, by, torch.arange(steps)[:, None, None].expand_as(x), 0)
        if self.drop:
            x = x * (torch.rand(x.shape, generator=generator) >= self.drop).to(x.dtype)
        if self.noise:
            x = torch.maximum(x, (torch.rand(x.shape, generator=generator) < self.noise).to(x.dtype))
        return x


def _moved(x: Tensor, by: Tensor, place: Tensor, dim: int) -> Tensor:
    """x with what was at `place - by` along `dim` at `place`; nothing comes in from outside."""
    source = place - by
    inside = (source >= 0) & (source < x.shape[dim])
    return torch.where(inside, x.gather(dim, source.clamp(0, x.shape[dim] - 1)), torch.zeros_like(x))
