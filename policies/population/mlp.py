"""Feed-forward baseline."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

Params = dict[str, jax.Array]


def dense_init(key: jax.Array, inputs: int, outputs: int) -> jax.Array:
    """LeCun-normal weights (inputs, outputs): truncated normal of variance 1 / inputs."""
    scale = inputs**-0.5 / 0.87962566103423978  # s.d. of a unit normal truncated to [-2, 2]
    return scale * jax.random.truncated_normal(key, -2.0, 2.0, (inputs, outputs), jnp.float32)


def layer_shapes(inputs: int, hidden_sizes: Any, outputs: int) -> list[tuple[int, int]]:
    """(inputs, outputs) of each layer of a feed-forward network; ValueError unless all sizes are positive integers."""
    if not isinstance(hidden_sizes, (list, tuple)) or not all(type(size) is int and size > 0 for size in hidden_sizes):
        raise ValueError(f"hidden_sizes={hidden_sizes!r} must be a list of positive integers, such as [128, 64].")
    return list(pairwise([inputs, *hidden_sizes, outputs]))


@dataclass(frozen=True)
class MLP:
    """Tanh layers of `hidden_sizes` and a linear head, with or without `bias`; no carry (an empty tuple)."""

    one_bit: ClassVar[bool] = False

    observation_size: int
    action_size: int
    hidden_sizes: tuple[int, ...] = (256,)
    bias: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_sizes", tuple(outputs for _, outputs in self.shapes[:-1]))

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each layer."""
        return layer_shapes(self.observation_size, self.hidden_sizes, self.action_size)

    def init(self, key: jax.Array) -> Params:
        keys = jax.random.split(key, len(self.shapes))
        params = {f"w{i}": dense_init(k, *shape) for i, (k, shape) in enumerate(zip(keys, self.shapes, strict=True))}
        return params | {f"b{i}": jnp.zeros(outputs) for i, (_, outputs) in enumerate(self.shapes) if self.bias}

    def initial_carry(self, key: jax.Array) -> tuple[()]:
        return ()

    def apply(self, params: Params, carry: tuple[()], obs: jax.Array) -> tuple[tuple[()], jax.Array]:
        x = obs
        for i in range(len(self.shapes)):
            x = jnp.tanh(x) if i else x
            x = x @ params[f"w{i}"]
            x = x + params[f"b{i}"] if self.bias else x
        return carry, x

    def metrics(self, carry: tuple[()]) -> dict[str, jax.Array]:
        return {}
