"""Gated recurrent networks, the deep baselines of evolved spiking networks."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from policies.population.mlp import dense_init

Params = dict[str, jax.Array]


def _recurrent_init(key: jax.Array, inputs: int, hidden: int, gates: int, outputs: int) -> Params:
    k_x, k_h, k_out = jax.random.split(key, 3)
    orthogonal = jax.nn.initializers.orthogonal()
    recurrent = [orthogonal(k, (hidden, hidden), jnp.float32) for k in jax.random.split(k_h, gates)]
    return {
        "x": dense_init(k_x, inputs, gates * hidden),
        "h": jnp.concatenate(recurrent, axis=1),
        "b": jnp.zeros(gates * hidden),
        "out": dense_init(k_out, hidden, outputs),
        "out_b": jnp.zeros(outputs),
    }


@dataclass(frozen=True)
class GRU:
    """Gated recurrent unit (Cho et al. 2014) with a linear head; carry h (H,), zero at the start of an episode.

    r, z = sigmoid(x W_x + h W_h + b);  n = tanh(x W_n + b_n + r * (h U_n + c_n));  h <- (1 - z) * n + z * h
    """

    one_bit: ClassVar[bool] = False

    observation_size: int
    action_size: int
    hidden_size: int = 256

    def init(self, key: jax.Array) -> Params:
        params = _recurrent_init(key, self.observation_size, self.hidden_size, 3, self.action_size)
        return params | {"candidate_b": jnp.zeros(self.hidden_size)}

    def initial_carry(self, key: jax.Array) -> jax.Array:
        return jnp.zeros(self.hidden_size, jnp.float32)

    def apply(self, params: Params, carry: jax.Array, obs: jax.Array) -> tuple[jax.Array, jax.Array]:
        x_r, x_z, x_n = jnp.split(obs @ params["x"] + params["b"], 3)
        h_r, h_z, h_n = jnp.split(carry @ params["h"], 3)
        r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        n = jnp.tanh(x_n + r * (h_n + params["candidate_b"]))
        h = (1 - z) * n + z * carry
        return h, h @ params["out"] + params["out_b"]

    def metrics(self, carry: jax.Array) -> dict[str, jax.Array]:
        return {}


@dataclass(frozen=True)
class LSTM:
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with forget gate) and a linear head; carry (c, h), zero.

    i, f, g, o = x W + h U + b;  c <- sigmoid(f) * c + sigmoid(i) * tanh(g);  h <- sigmoid(o) * tanh(c)
    """

    one_bit: ClassVar[bool] = False

    observation_size: int
    action_size: int
    hidden_size: int = 128

    def init(self, key: jax.Array) -> Params:
        return _recurrent_init(key, self.observation_size, self.hidden_size, 4, self.action_size)

    def initial_carry(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros(self.hidden_size, jnp.float32), jnp.zeros(self.hidden_size, jnp.float32)

    def apply(
        self, params: Params, carry: tuple[jax.Array, jax.Array], obs: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        c, h = carry
        i, f, g, o = jnp.split(obs @ params["x"] + h @ params["h"] + params["b"], 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h @ params["out"] + params["out_b"]

    def metrics(self, carry: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
        return {}
