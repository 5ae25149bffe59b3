"""What an evolution strategy is."""

from typing import Any, Protocol

import jax

State = Any  # a NamedTuple of arrays
Params = Any
Metrics = dict[str, jax.Array]


class Strategy(Protocol):
    """Evolution as pure functions of (state, key): whoever holds the two can rebuild any member.

    A strategy sees arrays only. Fitness is maximised; non-finite fitness ranks worst; equal fitness shares its rank.
    Schedules act by replacing fields of the state (`learning_rate`, `sigma`) between generations. All but `init` are traced
    by JAX; a strategy whose attribute `on_host` is True has an `update` that must not be. One that has a method `streams`
    tells with it, for each member (P,), on whose random numbers its episodes are to be played.
    """

    @property
    def population_size(self) -> int:
        """Members per generation."""

    def init(self, key: jax.Array, params_like: Params) -> State:
        """First state for parameters of this structure."""

    def sample(self, state: State, key: jax.Array, members: jax.Array) -> Params:
        """Parameters of the members with these indices, stacked on a leading axis; each depends on its index alone."""

    def update(self, state: State, key: jax.Array, fitness: jax.Array) -> tuple[State, Metrics]:
        """State after a generation that was sampled with `key` and reached `fitness` (population_size,)."""

    def mean(self, state: State) -> Params:
        """The parameters that are deployed and evaluated."""


def check_population_size(population_size: int, antithetic: bool) -> None:
    """ValueError when the population is too small to rank, or odd although its members come in pairs."""
    if population_size < 2:
        raise ValueError(f"population_size={population_size} cannot be ranked; use at least 2.")
    if antithetic and population_size % 2:
        raise ValueError(
            f"population_size={population_size} is odd, but antithetic members come in pairs; use "
            f"{population_size + 1}, or antithetic=False."
        )
