"""Operators that make one table of probabilities out of two: (key, a, b) -> child, all float32 (N,)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import logit

from trainers.strategies.bits import LEVELS, bernoulli_words

Operator = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def arithmetic(key: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """alpha a + (1 - alpha) b with one alpha ~ U(0, 1) for all: a point of the segment between the parents."""
    alpha = jax.random.uniform(key)
    return alpha * a + (1 - alpha) * b


def mean(key: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """(a + b) / 2."""
    return (a + b) / 2


def random_pick(key: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Each entry from a or from b, by a fair coin: keeps confident probabilities, breaks up what belongs together."""
    return jnp.where(jax.random.bits(key, a.shape, jnp.uint8) & 1 == 0, a, b)


def logits(key: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """`arithmetic` between log-odds: parents that agree keep their confidence, and the more confident one prevails."""
    return jax.nn.sigmoid(arithmetic(key, logit(a), logit(b)))


def samples(key: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Share of ones among 32 masks, each bit of which is drawn from one of the parents by a fair coin.

    Such a bit is one with probability (a + b) / 2; the child is that mean with binomial noise, a multiple of 1/32.
    """
    threshold = jnp.round((a + b) / 2 * LEVELS).astype(jnp.int32)
    words = bernoulli_words(key, jnp.broadcast_to(threshold, (32, *a.shape)))
    return jax.lax.population_count(words).astype(jnp.float32) / 32


OPERATORS: dict[str, Operator] = {
    "arithmetic": arithmetic,
    "mean": mean,
    "random_pick": random_pick,
    "logits": logits,
    "samples": samples,
}
