"""Other ways than clipping to bring a network's outputs into bounds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from policies.names import nearest
from policies.population.types import Carry, Params, PopulationNetwork


def car_racing(x: jax.Array) -> jax.Array:
    """tanh for steering; for gas and brake what becomes sigmoid(x) when [-1, 1] is scaled to [0, 1]."""
    return jnp.tanh(x * jnp.array([1.0, 0.5, 0.5]))


BOUNDS: dict[str, Callable[[jax.Array], jax.Array]] = {"tanh": jnp.tanh, "car_racing": car_racing}
"""Published action bounds by name (arXiv 2007.02686), outputs (A,) -> (-1, 1)."""


@dataclass(frozen=True)
class Bounded:
    """`network` with its outputs bounded smoothly, so that the caller has nothing to clip."""

    network: PopulationNetwork
    action_bounds: str

    def __post_init__(self) -> None:
        if self.action_bounds not in BOUNDS:
            raise ValueError(f"Unknown action_bounds '{self.action_bounds}'. {nearest(self.action_bounds, ['clip', *BOUNDS])}")
        if self.action_bounds == "car_racing" and self.network.action_size != 3:
            raise ValueError(
                f"action_bounds='car_racing' is for steering, gas and brake, and this environment takes "
                f"{self.network.action_size} actions; use 'clip' or 'tanh'."
            )

    @property
    def one_bit(self) -> bool:
        return self.network.one_bit

    @property
    def kernels(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Of one-bit networks."""
        return self.network.kernels  # type: ignore[attr-defined]

    @property
    def action_size(self) -> int:
        return self.network.action_size

    def init(self, key: jax.Array) -> Params:
        return self.network.init(key)

    def initial_carry(self, key: jax.Array) -> Carry:
        return self.network.initial_carry(key)

    def apply(self, params: Params, carry: Carry, obs: jax.Array) -> tuple[Carry, jax.Array]:
        carry, output = self.network.apply(params, carry, obs)
        return carry, BOUNDS[self.action_bounds](output)

    def metrics(self, carry: Carry) -> dict[str, Any]:
        return self.network.metrics(carry)
