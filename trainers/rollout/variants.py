"""Rollouts of several variants of an environment."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from trainers.rollout.types import Evaluation, Rollout


class VariantRollout:
    """Plays every episode asked for in every variant, one variant after the other: V * L episodes for L.

    The start states of the environments differ between the variants.

    :param rollouts: of each of the V variants
    :param shared_start: the initial state of the network is the same in all variants
    """

    def __init__(self, rollouts: Sequence[Rollout], shared_start: bool) -> None:
        self.rollouts = rollouts
        self.shared_start = shared_start

    def __call__(
        self,
        params_of: Any,
        members: np.ndarray,
        episodes: np.ndarray,
        key: jax.Array,
        normalizer: Any,
        counted: np.ndarray | None = None,
        carry_key: jax.Array | None = None,
        streams: np.ndarray | None = None,
    ) -> Evaluation:
        keys = jax.random.split(key, len(self.rollouts))
        shared = (keys[0] if carry_key is None else carry_key) if self.shared_start else carry_key
        played = [
            rollout(params_of, members, episodes, own, normalizer, counted, shared, streams)
            for rollout, own in zip(self.rollouts, keys, strict=True)
        ]
        return merge(played)


def merge(parts: Sequence[Evaluation]) -> Evaluation:
    """All their episodes, in order."""
    moments = parts[0].moments
    for part in parts[1:]:
        moments = moments.merge(part.moments)
    steps = sum(part.env_steps for part in parts)
    metrics = {name: sum(part.metrics[name] * part.env_steps for part in parts) / max(steps, 1) for name in parts[0].metrics}
    returns, lengths = (np.concatenate([getattr(part, what) for part in parts]) for what in ("returns", "lengths"))
    return Evaluation(returns, lengths, moments, steps, metrics)
