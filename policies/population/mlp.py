"""Feed-forward baseline."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

Params = dict[str, jax.Array]


def dense_init(key: jax.Array, inputs: int, outputs: int) -> jax.Array:
    """LeCun-normal weights (inputs, outputs): truncated normal of variance 1 / inputs."""
    scale = inputs**-0.5 / 0.87962566103423978  # s.d. of a unit normal truncated to [-2, 2]
    return scale * jax.random.truncated_normal(key, -2.0, 2.0, (inputs, outputs), jnp.float32)


@dataclass(frozen=True)
class MLP:
    """`num_layers` tanh layers of `hidden_size` and a linear head; no carry (an empty tuple)."""

    one_bit: ClassVar[bool] = False

    observation_size: int
    action_size: int
    hidden_size: int = 256
    num_layers: int = 1

    def init(self, key: jax.Array) -> Params:
        sizes = [self.observation_size, *[self.hidden_size] * self.num_layers, self.action_size]
        keys = jax.random.split(key, len(sizes) - 1)
        weights = {f"w{i}": dense_init(k, *sizes[i : i + 2]) for i, k in enumerate(keys)}
        return weights | {f"b{i}": jnp.zeros(size) for i, size in enumerate(sizes[1:])}

    def initial_carry(self, key: jax.Array) -> tuple[()]:
        return ()

    def apply(self, params: Params, carry: tuple[()], obs: jax.Array) -> tuple[tuple[()], jax.Array]:
        x = obs
        for i in range(self.num_layers):
            x = jnp.tanh(x @ params[f"w{i}"] + params[f"b{i}"])
        return carry, x @ params[f"w{self.num_layers}"] + params[f"b{self.num_layers}"]

    def metrics(self, carry: tuple[()]) -> dict[str, jax.Array]:
        return {}
