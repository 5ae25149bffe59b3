"""Fitness shaping."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def doubled_centred_ranks(fitness: jax.Array) -> jax.Array:
    """Integer ranks c in [-(P-1), P-1], higher for fitter members; int32 (P,) from fitness (P,).

    c = 2 * rank - (P - 1), where rank counts from 0 and members of equal fitness share their average rank; non-finite
    fitness ranks worst. The ranks sum to zero exactly and stay integers, so that sums weighted by them can be exact.
    """
    fitness = jnp.where(jnp.isfinite(fitness), fitness, -jnp.inf)
    ordered = jnp.sort(fitness)
    below = jnp.searchsorted(ordered, fitness, side="left")
    up_to = jnp.searchsorted(ordered, fitness, side="right")
    return (below + up_to - fitness.shape[0]).astype(jnp.int32)


def centred_ranks(fitness: jax.Array) -> jax.Array:
    """`doubled_centred_ranks` scaled to [-0.5, 0.5], float32 (P,): the shaping of OpenAI-ES (arXiv 1703.03864)."""
    return doubled_centred_ranks(fitness).astype(jnp.float32) / (2 * (fitness.shape[0] - 1))


def standardized_ranks(fitness: jax.Array) -> jax.Array:
    """`centred_ranks` divided by their standard deviation, float32 (P,): the shaping of evolved Hebbian rules
    (arXiv 2007.02686, released code). All zero when all fitness is equal.
    """
    ranks = centred_ranks(fitness)
    deviation = jnp.sqrt(jnp.mean(ranks**2))
    return jnp.where(deviation > 0, ranks / jnp.maximum(deviation, 1e-12), 0.0)


SHAPINGS: dict[str, Callable[[jax.Array], jax.Array]] = {"centred": centred_ranks, "standardized": standardized_ranks}
"""Name -> fitness (P,) to the weights of the members (P,), which sum to zero."""
