"""One-bit synapses, 32 to a word.

A boolean kernel (K, M) from K presynaptic to M postsynaptic neurons is stored as uint32 words (W, M), W = ceil(K/32):
row k = 4 (W i + w) + b is bit 8 b + i of word w. In this order a spike vector stored as bytes is packed by eight shifts
of itself, read four bytes at a time, and no reduction over lanes.

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
    by_byte = jnp.moveaxis(jnp.pad(rows, padding).reshape(8, words, 4, *rows.shape[1:]), 2, 0)
    return by_byte.reshape(WORD, words, *rows.shape[1:])


def from_bit_planes(planes: jax.Array, rows: int) -> jax.Array:
    """Undo `bit_planes`: (32, W, ...) -> (K, ...)."""
    by_byte = planes.reshape(4, 8, *planes.shape[1:])
    return jnp.moveaxis(by_byte, 0, 2).reshape(-1, *planes.shape[2:])[:rows]


def pack_planes(planes: jax.Array) -> jax.Array:
    """Boolean planes (32, W, ...) -> uint32 words (W, ...)."""
    words = planes[0].astype(jnp.uint32)
    for bit in range(1, WORD):
        words |= planes[bit].astype(jnp.uint32) << bit
    return words


def pack(mask: jax.Array) -> jax.Array:
    """Boolean (K, ...) -> uint32 words (ceil(K/32), ...)."""
    return pack_planes(bit_planes(mask))


def pack_spikes(spikes: jax.Array) -> jax.Array:
    """uint8 (K,) of zeros and ones -> uint32 words (ceil(K/32),); the same as `pack`, for one vector and faster."""
    words = num_words(spikes.shape[0])
    padded = jnp.pad(spikes, (0, WORD * words - spikes.shape[0]))
    four = lax.bitcast_convert_type(padded.reshape(8, words, 4), jnp.uint32)
    packed = four[0]
    for i in range(1, 8):
        packed |= four[i] << i
    return packed


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


def weighted_sum(words: jax.Array, x: jax.Array, minus: jax.Array | None = None) -> jax.Array:
    """x @ mask for real x (K,) and packed mask (W, M): float32 (M,); with `minus`, x @ mask - x @ (mask of minus).

    The bits are read in place: a word masked to one of its bits 30, 29, 28, 27 is, taken for a float, either 0 or the
    power of two 2, 2^-63, 2^-95, 2^-111, and multiplied by x over that power it is exactly 0 or x. |x| counts as 2^15
    at most.
    """
    # Where each bit is read, from the top of the word downwards: shift to the left, and bit.
    reads = [(group - 1, 30 - j) for group in range(0, WORD, 4) for j in range(4)]
    power = jnp.asarray([lax.bitcast_convert_type(jnp.uint32(1 << bit), jnp.float32) for _, bit in reads])
    planes = jnp.clip(bit_planes(x.astype(jnp.float32))[::-1], -(2.0**15), 2.0**15) / power[:, None]  # (32, W)

    def add_word(w: jax.Array, total: jax.Array) -> jax.Array:
        x_w = lax.dynamic_index_in_dim(planes, w, 1, keepdims=False)  # (32,)
        sums = [total, *[jnp.zeros_like(total)] * 3]  # independent of one another, for speed
        for kernel, sign in ((words, 1), (minus, -1)):
            if kernel is None:
                continue
            word = lax.dynamic_index_in_dim(kernel, w, 0, keepdims=False)  # (M,)
            for i, (shift, bit) in enumerate(reads):
                shifted = word << shift if shift >= 0 else word >> -shift
                term = lax.bitcast_convert_type(shifted & jnp.uint32(1 << bit), jnp.float32) * x_w[i]
                sums[i % 4] = sums[i % 4] + term if sign > 0 else sums[i % 4] - term
        return (sums[0] + sums[1]) + (sums[2] + sums[3])

    return lax.fori_loop(0, words.shape[0], add_word, jnp.zeros(words.shape[1:], jnp.float32))
