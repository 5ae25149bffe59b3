"""From observations to currents or spikes over time.

An encoder maps x (B, S) to a sequence (T, B, size) that the first layer's weights are applied to. It may have a state, a
tuple of tensors (B, ...), like the layers of neurons; None means at rest. `constant` encoders give every step the same and
return (1, B, size).
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from policies.equations.coding import golden_threshold, integrate_and_fire, receptive_field
from policies.neurons import State

EMPTY: State = ()


class Encoder(nn.Module):
    """What encoders share.

    :param features: S
    :param n_timesteps: T
    """

    stochastic: ClassVar[bool] = False
    constant: ClassVar[bool] = False
    spikes: ClassVar[bool] = False  # whether the sequence is of 0 and 1

    def __init__(self, features: int, n_timesteps: int) -> None:
        super().__init__()
        self.features = self.size = features
        self.n_timesteps = n_timesteps

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        raise NotImplementedError

    def rest(self, like: Tensor) -> State:
        """The state at rest for rows (B, ...)."""
        return EMPTY


class AdaptiveEncoder(Encoder):
    """ACSF's learned encoder: one affine map from x to its sequence (Qin et al., IJCAI 2023, arXiv 2211.11760).

    :param time_only: x_t = w_t * x + b_t, which spreads every feature over time without mixing features; far fewer
        multiplications for wide observations
    :param initial: "random" as torch draws it, or "repeat": at first every step is x, as of `DirectEncoder`; networks that
        imitate others come closer from there
    """

    def __init__(self, features: int, n_timesteps: int, time_only: bool = False, initial: str = "random") -> None:
        if initial not in ("random", "repeat"):
            raise ValueError(f"initial='{initial}' of an adaptive encoder must be one of random, repeat.")
        super().__init__(features, n_timesteps)
        self.time_only = time_only
        if time_only:
            self.weight = nn.Parameter(torch.empty(n_timesteps, 1, features).uniform_(0.5, 1.5))
            self.bias = nn.Parameter(torch.zeros(n_timesteps, 1, features))
        else:
            self.map = nn.Linear(features, n_timesteps * features)
        if initial == "repeat":
            with torch.no_grad():
                if time_only:
                    self.weight.fill_(1.0)
                else:
                    self.map.weight.copy_(torch.eye(features).repeat(n_timesteps, 1))
                    self.map.bias.zero_()

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        if self.time_only:
            return x * self.weight + self.bias, EMPTY
        return self.map(x).view(-1, self.n_timesteps, self.features).transpose(0, 1), EMPTY


class DirectEncoder(Encoder):
    """x itself as a current, the same at every step."""

    constant = True

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        return x[None], EMPTY


class PopulationEncoder(Encoder):
    """PopSAN's encoder: `n_pop` neurons per feature with learned receptive fields (Tang et al., CoRL 2020).

    :param n_pop: neurons per feature
    :param coding: "deterministic" (integrate and fire), "poisson" (Bernoulli spikes) or "direct" (the activities
        themselves as currents, as in MDC-SAN)
    :param squash: "tanh" for observations of any size, "none" for observations already normalised, as by
        `VecNormalize(clip_obs=3)`
    :param reach: the fields' centres are evenly spaced in [-reach, reach] (default: 1 with tanh, 3 without)
    :param width: standard deviation of the fields at the start (default: sqrt(0.05) with tanh, sqrt(0.15) without)
    """

    V_TH: ClassVar[float] = 0.999

    def __init__(
        self,
        features: int,
        n_timesteps: int,
        n_pop: int = 10,
        coding: str = "deterministic",
        squash: str = "tanh",
        reach: float | None = None,
        width: float | None = None,
    ) -> None:
        if n_pop < 2:
            raise ValueError(f"n_pop={n_pop} must be at least 2.")
        for name, value, allowed in (
            ("coding", coding, ("deterministic", "poisson", "direct")),
            ("squash", squash, ("tanh", "none")),
        ):
            if value not in allowed:
                raise ValueError(f"{name}='{value}' of a population encoder must be one of {', '.join(allowed)}.")
        super().__init__(features, n_timesteps)
        self.size = features * n_pop
        self.coding, self.squash = coding, squash
        self.stochastic = coding == "poisson"  # type: ignore[misc]
        self.constant = coding == "direct"  # type: ignore[misc]
        self.spikes = coding != "direct"  # type: ignore[misc]
        reach = (1.0 if squash == "tanh" else 3.0) if reach is None else reach
        width = math.sqrt(0.05 if squash == "tanh" else 0.15) if width is None else width
        self.centre = nn.Parameter(torch.linspace(-reach, reach, n_pop).repeat(features, 1))
        self.width = nn.Parameter(torch.full((features, n_pop), width))

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        if self.squash == "tanh":
            x = torch.tanh(x)
        activity = receptive_field(x[:, :, None], self.centre, self.width, torch.exp).flatten(1)
        if self.coding == "direct":
            return activity[None], EMPTY
        if self.coding == "poisson":
            return bernoulli(activity, self.n_timesteps, self.training), EMPTY
        (v,) = self.rest(activity) if state is None else state
        spikes = []
        for _ in range(self.n_timesteps):
            v, s = integrate_and_fire(v, activity, self.V_TH, straight_through)
            spikes.append(s)
        return torch.stack(spikes), (v,)

    def rest(self, like: Tensor) -> State:
        return (like.new_zeros(len(like), self.size),) if self.coding == "deterministic" else EMPTY


class RateEncoder(Encoder):
    """Bernoulli spikes with probability (1 + tanh(x)) / 2; gradients pass straight to the probability."""

    stochastic = True
    spikes = True

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        return bernoulli(0.5 * (1.0 + torch.tanh(x)), self.n_timesteps, self.training), EMPTY


class LatencyEncoder(Encoder):
    """One spike a feature, the earlier the larger: at step round((T - 1) * (1 - tanh(x)) / 2). No gradient reaches x."""

    spikes = True

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        when = ((self.n_timesteps - 1) * 0.5 * (1.0 - torch.tanh(x))).round()
        steps = torch.arange(self.n_timesteps, device=x.device, dtype=x.dtype)
        return (steps[:, None, None] == when).to(x.dtype), EMPTY


ENCODERS: dict[str, type[Encoder]] = {
    "adaptive": AdaptiveEncoder,
    "direct": DirectEncoder,
    "population": PopulationEncoder,
    "rate": RateEncoder,
    "latency": LatencyEncoder,
}


def straight_through(u: Tensor) -> Tensor:
    """1 where u > 0, else 0, with the gradient of u."""
    return u + ((u > 0).to(u.dtype) - u).detach()


def bernoulli(p: Tensor, n_timesteps: int, chance: bool) -> Tensor:
    """Spikes (T, ...) with probability p and straight-through gradients; without chance, evenly scattered in time."""
    if chance:
        thresholds = torch.rand((n_timesteps, *p.shape), device=p.device, dtype=p.dtype)
    else:
        steps = [golden_threshold(t) for t in range(n_timesteps)]
        thresholds = torch.tensor(steps, device=p.device, dtype=p.dtype).view(-1, *(1 for _ in p.shape))
    return p + ((p > thresholds).to(p.dtype) - p).detach()
