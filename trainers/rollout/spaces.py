"""Which spaces evolved networks can serve, and how their outputs become actions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces


def network_sizes(observation_space: spaces.Space, action_space: spaces.Space) -> tuple[int | tuple[int, int, int], int]:
    """What a network for these spaces takes, a vector's size or an image's shape (H, W, C), and its number of outputs.

    Observations must be a flat Box, an image (a Box of uint8 and three dimensions), or Discrete (a vector with one
    element a choice); actions a flat bounded Box (one output each) or Discrete (one output a choice). ValueError says
    which wrapper helps otherwise.
    """
    return _input_size(observation_space), _output_size(action_space)


def is_image(space: spaces.Space) -> bool:
    """Whether these are images (H, W, C)."""
    return isinstance(space, spaces.Box) and len(space.shape) == 3 and space.dtype == np.uint8


def normalized_size(observation_space: spaces.Space) -> int:
    """Elements of an observation that running statistics are kept of: all of a vector, none of images and choices."""
    return observation_space.shape[0] if observation_space.shape is not None and len(observation_space.shape) == 1 else 0


def to_input(obs: jax.Array, observation_space: spaces.Space) -> jax.Array:
    """Observations (n, ...) as networks take them: images as they are, choices one-hot (n, N), vectors as float32."""
    if isinstance(observation_space, spaces.Discrete):
        return jax.nn.one_hot(obs - int(observation_space.start), int(observation_space.n))
    return obs if is_image(observation_space) else obs.astype(jnp.float32)


def to_action(output: jax.Array, action_space: spaces.Space) -> jax.Array:
    """Network outputs (..., A) as actions: clipped to [-1, 1] and scaled to the Box's bounds, or the largest output."""
    if isinstance(action_space, spaces.Discrete):
        return jnp.argmax(output, axis=-1) + int(action_space.start)
    assert isinstance(action_space, spaces.Box)
    low, high = jnp.asarray(action_space.low), jnp.asarray(action_space.high)
    return low + 0.5 * (jnp.clip(output, -1.0, 1.0) + 1.0) * (high - low)


def _input_size(space: spaces.Space) -> int | tuple[int, int, int]:
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    shape: Any = space.shape
    if is_image(space):
        return shape
    if isinstance(space, spaces.Box) and len(shape) == 1:
        return int(shape[0])
    kind = f"Box of shape {shape} and {space.dtype}" if isinstance(space, spaces.Box) else type(space).__name__
    raise ValueError(
        f"These networks take flat Box, image (H, W, C; uint8) or Discrete observations, but the environment gives {kind}; "
        "wrap it with gymnasium.wrappers.FlattenObservation."
    )


def _output_size(space: spaces.Space) -> int:
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and _bounded(space):
        return int(space.shape[0])
    raise ValueError(
        f"These networks drive flat bounded Box or Discrete actions, but the environment takes {space}; wrap it with "
        "gymnasium.wrappers.RescaleAction or TransformAction."
    )


def _bounded(space: spaces.Box) -> bool:
    return bool(np.isfinite(space.low).all() and np.isfinite(space.high).all())
