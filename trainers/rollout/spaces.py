"""Which spaces evolved networks can serve, and how their outputs become actions."""

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces


def network_sizes(observation_space: spaces.Space, action_space: spaces.Space) -> tuple[int, int]:
    """(observation size, output size) of a network for these spaces.

    Observations must be a flat Box; actions a flat bounded Box (one output each) or Discrete (one output a choice).
    ValueError says which wrapper helps otherwise.
    """
    if not isinstance(observation_space, spaces.Box) or len(observation_space.shape) != 1:
        kind = type(observation_space).__name__
        shape = f" of shape {observation_space.shape}" if isinstance(observation_space, spaces.Box) else ""
        raise ValueError(
            f"These networks take flat Box observations, but the environment gives {kind}{shape}; wrap it with "
            "gymnasium.wrappers.FlattenObservation."
        )
    if isinstance(action_space, spaces.Discrete):
        return int(observation_space.shape[0]), int(action_space.n)
    if not isinstance(action_space, spaces.Box) or len(action_space.shape) != 1 or not _bounded(action_space):
        raise ValueError(
            f"These networks drive flat bounded Box or Discrete actions, but the environment takes {action_space}; "
            "wrap it with gymnasium.wrappers.RescaleAction or TransformAction."
        )
    return int(observation_space.shape[0]), int(action_space.shape[0])


def to_action(output: jax.Array, action_space: spaces.Space) -> jax.Array:
    """Network outputs (..., A) as actions: clipped to [-1, 1] and scaled to the Box's bounds, or the largest output."""
    if isinstance(action_space, spaces.Discrete):
        return jnp.argmax(output, axis=-1) + int(action_space.start)
    assert isinstance(action_space, spaces.Box)
    low, high = jnp.asarray(action_space.low), jnp.asarray(action_space.high)
    return low + 0.5 * (jnp.clip(output, -1.0, 1.0) + 1.0) * (high - low)


def _bounded(space: spaces.Box) -> bool:
    return bool(np.isfinite(space.low).all() and np.isfinite(space.high).all())
