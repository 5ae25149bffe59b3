"""What a population network is."""

from typing import Any, ClassVar, Protocol

import jax

Params = Any  # a pytree of arrays: everything that evolution changes
Carry = Any  # a pytree of arrays: everything that lives from one environment step to the next


class PopulationNetwork(Protocol):
    """A controller as pure functions on one member; `vmap` makes it a population.

    Implementations are frozen dataclasses whose fields are plain numbers and strings, so that they can be written in
    YAML, compared and hashed. Outputs are action preactivations: the caller clips and scales them.
    """

    one_bit: ClassVar[bool]  # parameters are packed boolean kernels (see `synapses`); then `kernels` gives their shapes
    observation_size: int
    action_size: int

    def init(self, key: jax.Array) -> Params:
        """Random initial parameters."""

    def initial_carry(self, key: jax.Array) -> Carry:
        """State at the start of an episode."""

    def apply(self, params: Params, carry: Carry, obs: jax.Array) -> tuple[Carry, jax.Array]:
        """One environment step: observation (D,) float32 -> new carry and output (A,) float32."""

    def metrics(self, carry: Carry) -> dict[str, jax.Array]:
        """Scalars worth logging, such as the firing rate; may be empty."""
