"""Networks that answer their own parameters whatever they see: evolution of a point, for objective functions."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from policies.population.synapses import pack, unpack

Params = dict[str, jax.Array]


@dataclass(frozen=True)
class Point:
    """Real numbers: the output is the parameter `x` (A,), which starts at `initial_value` everywhere."""

    one_bit: ClassVar[bool] = False

    observation_size: int
    action_size: int
    initial_value: float = 0.0

    def init(self, key: jax.Array) -> Params:
        return {"x": jnp.full(self.action_size, self.initial_value, jnp.float32)}

    def initial_carry(self, key: jax.Array) -> tuple[()]:
        return ()

    def apply(self, params: Params, carry: tuple[()], obs: jax.Array) -> tuple[tuple[()], jax.Array]:
        return carry, params["x"]

    def metrics(self, carry: tuple[()]) -> dict[str, jax.Array]:
        return {}


@dataclass(frozen=True)
class Bits:
    """Bits: the output is 1 where the parameter `bits` (packed, one column of A rows) is set, else -1."""

    one_bit: ClassVar[bool] = True

    observation_size: int
    action_size: int

    @property
    def kernels(self) -> dict[str, jax.ShapeDtypeStruct]:
        return {"bits": jax.ShapeDtypeStruct((self.action_size, 1), jnp.bool_)}

    def init(self, key: jax.Array) -> Params:
        """Independent fair coins, packed."""
        return {"bits": pack(jax.random.bernoulli(key, 0.5, (self.action_size, 1)))}

    def initial_carry(self, key: jax.Array) -> tuple[()]:
        return ()

    def apply(self, params: Params, carry: tuple[()], obs: jax.Array) -> tuple[tuple[()], jax.Array]:
        return carry, jnp.where(unpack(params["bits"], self.action_size)[:, 0], 1.0, -1.0)

    def metrics(self, carry: tuple[()]) -> dict[str, jax.Array]:
        return {}
