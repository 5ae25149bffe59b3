"""Random bits of given probability, drawn straight into packed words, and normal numbers.

`jax.random.bits` runs its cipher as a loop over whole arrays on CPU; written out elementwise, the same cipher fuses
with the comparison and the packing, or with what normal numbers are added to, and a member is drawn several times faster
with nothing in between.
"""

import math

import jax
import jax.numpy as jnp

LEVELS = 1 << 16  # draws are 16-bit integers
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


ROUNDS = 13  # the fewest that pass every test of BigCrush (Salmon et al., table 2); JAX itself uses 20


def threefry2x32(key: jax.Array, x0: jax.Array, x1: jax.Array, rounds: int = ROUNDS) -> tuple[jax.Array, jax.Array]:
    """The Threefry-2x32 block cipher (Salmon et al., SC 2011): key uint32 (2,), counters uint32 of one shape."""
    k0, k1 = key[0], key[1]
    schedule = (k0, k1, k0 ^ k1 ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = x0 + k0, x1 + k1
    for r in range(rounds):
        rotation = ROTATIONS[r // 4 % 2][r % 4]
        x0 = x0 + x1
        x1 = ((x1 << rotation) | (x1 >> (32 - rotation))) ^ x0
        if r % 4 == 3:
            group = r // 4
            x0 = x0 + schedule[(group + 1) % 3]
            x1 = x1 + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
    return x0, x1


def bernoulli_words(key: jax.Array, thresholds: jax.Array, flip: jax.Array | bool = False) -> jax.Array:
    """Packed bits: bit b of word t is set with probability thresholds[b, t] / 65536.

    :param key: a threefry key
    :param thresholds: int32 (32, T) in [0, 65536]
    :param flip: draw with 1 - u in place of u (the antithetic twin)
    :return: uint32 (T,)
    """
    key = jax.random.key_data(key)
    t = jnp.arange(thresholds.shape[1], dtype=jnp.uint32)
    mask = jnp.where(flip, jnp.uint32(0xFFFFFFFF), jnp.uint32(0))
    words = jnp.zeros_like(t)
    for quad in range(8):  # one block of the cipher gives the draws of four bits
        blocks = threefry2x32(key, t, jnp.full_like(t, quad))
        for j in range(4):
            draw = ((blocks[j // 2] ^ mask) >> (16 * (j % 2))) & 0xFFFF
            bit = 4 * quad + j
            words |= (draw.astype(jnp.int32) < thresholds[bit]).astype(jnp.uint32) << bit
    return words


def normal_pairs(key: jax.Array, t: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two arrays of independent standard normal numbers, float32 of the shape of t, by Box & Muller (1958).

    One block of the cipher gives two numbers; they lie within +-6.8. The cosine and the sine are those of Taylor over an
    eighth of a turn to either side, to 3e-7; the quarter turn comes from two bits of the angle's own.

    :param key: a threefry key
    :param t: uint32 counters
    :param index: uint32; every pair of counter and index gives numbers of its own
    """
    a, b = threefry2x32(jax.random.key_data(key), t, jnp.full_like(t, index))
    radius = jnp.sqrt(-2.0 * jnp.log((a.astype(jnp.float32) + 0.5) * 2.0**-32))
    x = ((b & 0x3FFFFFFF).astype(jnp.int32) - (1 << 29)).astype(jnp.float32) * (math.pi / 2**31)
    xx = x * x
    sine = x * (1.0 + xx * (-1 / 6 + xx * (1 / 120 - xx / 5040)))
    cosine = 1.0 + xx * (-1 / 2 + xx * (1 / 24 + xx * (-1 / 720 + xx / 40320)))
    swapped, negative = (b >> 30) & 1 != 0, b >> 31 != 0
    radius = jnp.where(negative, -radius, radius)
    first, second = jnp.where(swapped, -sine, cosine), jnp.where(swapped, cosine, sine)
    return radius * first, radius * second
