"""What a population network is."""

from typing import Any, Protocol

import jax

Params = Any  # a pytree of arrays: everything that evolution changes
Carry = Any  # a pytree of arrays: everything that lives from one environment step to the next


class PopulationNetwork(Protocol):
    """A controller as pure functions on one member; `vmap` makes it a population.

    Implementations are frozen dataclasses whose fields are plain numbers and strings, so that they can be written in
    YAML, compared and hashed. Outputs are action preactivations: the caller clips and scales them.
    """

    @property
    def one_bit(self) -> bool:
        """Whether parameters are packed boolean kernels (see `synapses`); then `kernels` gives their shapes."""

    @property
    def action_size(self) -> int:
        """Number of outputs."""

    def init(self, key: jax.Array) -> Params:
        """Random initial parameters."""

    def initial_carry(self, key: jax.Array) -> Carry:
        """State at the start of an episode."""

    def apply(self, params: Params, carry: Carry, obs: jax.Array) -> tuple[Carry, jax.Array]:
        """One environment step: observation, (D,) float32 or an image (H, W, C) -> new carry and output (A,) float32."""

    def metrics(self, carry: Carry) -> dict[str, jax.Array]:
        """Scalars worth logging by TensorBoard tag, such as "spike/rate"; may be empty."""
