"""One-bit synapses, 32 to a word.

A boolean kernel (K, M) from K presynaptic to M postsynaptic neurons is stored as uint32 words (W, M), W = ceil(K/32):
row k is bit `k // W` of word `k % W`. Striding the rows over the words, instead of filling a word with 32 neighbours,
makes packing a fresh spike vector 32 shifted vector operations and no reduction over lanes.

Everything here is unbatched and elementwise along M, the innermost axis, so that under `vmap` the compiler vectorises
along M and no member's weights are ever transposed or expanded to floats.
"""

import jax
import jax.numpy as jnp
from jax import lax

WORD = 32


def num_words(rows: int) -> int:
    """Words that hold `rows` bits."""
    return -(-rows // WORD)


def bit_planes(rows: jax.Array) -> jax.Array:
    """Arrange the rows (K, ...) of a kernel by bit: (32, W, ...); rows past K are zero."""
    words = num_words(rows.shape[0])
    padding = [(0, WORD * words - rows.shape[0])] + [(0, 0)] * (rows.ndim - 1)
    return jnp.pad(rows, padding).reshape(WORD, words, *rows.shape[1:])


def from_bit_planes(planes: jax.Array, rows: int) -> jax.Array:
    """Undo `bit_planes`: (32, W, ...) -> (K, ...)."""
    return planes.reshape(-1, *planes.shape[2:])[:rows]


def pack_planes(planes: jax.Array) -> jax.Array:
    """Boolean planes (32, W, ...) -> uint32 words (W, ...)."""
    words = planes[0].astype(jnp.uint32)
    for bit in range(1, WORD):
        words |= planes[bit].astype(jnp.uint32) << bit
    return words


def pack(mask: jax.Array) -> jax.Array:
    """Boolean (K, ...) -> uint32 words (ceil(K/32), ...)."""
    return pack_planes(bit_planes(mask))


def unpack(words: jax.Array, rows: int) -> jax.Array:
    """uint32 words (W, ...) -> boolean (K, ...)."""
    bits = jnp.arange(WORD, dtype=jnp.uint32).reshape((WORD,) + (1,) * words.ndim)
    return from_bit_planes((words >> bits) & 1, rows).astype(bool)


def spike_count(words: jax.Array, spikes: jax.Array) -> jax.Array:
    """Spikes that arrive at each postsynaptic neuron: int32 (M,) from words (W, M) and packed spikes (W,).

    The sum over words is unrolled: as a reduced axis it would not be vectorised along M.
    """
    count = lax.population_count(words[0] & spikes[0])
    for w in range(1, words.shape[0]):
        count += lax.population_count(words[w] & spikes[w])
    return count.astype(jnp.int32)


def weighted_sum(words: jax.Array, x: jax.Array) -> jax.Array:
    """x @ mask for real x (K,) and packed mask (W, M): float32 (M,), reading the bits in place.

    Adds the 32 terms of a word as a tree, which keeps the additions independent of one another.
    """
    planes = bit_planes(x.astype(jnp.float32))  # (32, W)

    def add_word(w: jax.Array, total: jax.Array) -> jax.Array:
        word = lax.dynamic_index_in_dim(words, w, 0, keepdims=False)  # (M,)
        x_w = lax.dynamic_index_in_dim(planes, w, 1, keepdims=False)  # (32,)
        terms = [jnp.where(word & jnp.uint32(1 << bit), x_w[bit], 0.0) for bit in range(WORD)]
        while len(terms) > 1:
            terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
        return total + terms[0]

    return lax.fori_loop(0, words.shape[0], add_word, jnp.zeros(words.shape[1:], jnp.float32))
