"""Populations of boolean masks that are drawn from connection probabilities, packed 32 synapses to a word.

A member's random bits depend on (key, member) alone; whether they become synapses, on its probabilities. So masks are drawn
anew wherever they are needed, and never stored.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from policies.population.synapses import WORD, bit_planes, from_bit_planes, num_words, pack
from trainers.strategies.bits import LEVELS, bernoulli_words
from trainers.strategies.ranks import doubled_centred_ranks
from trainers.strategies.types import Metrics, check_population_size

Kernels = dict[str, jax.Array]
BLOCK = 16  # members drawn together


def check_masks(population_size: int, antithetic: bool, eps: float, initial_rho: float) -> None:
    """ValueError when these members cannot be drawn, ranked and summed."""
    check_population_size(population_size, antithetic)
    if not 1 / LEVELS <= eps < 0.5:
        raise ValueError(f"eps={eps} must lie in [{1 / LEVELS:.2g}, 0.5), the resolution of a draw and a half.")
    if not eps <= initial_rho <= 1 - eps:
        raise ValueError(f"initial_rho={initial_rho} must lie in [eps, 1 - eps] with eps={eps}.")
    if population_size > 1 << 15:
        raise ValueError(f"population_size={population_size}: the integer sum over ranks holds up to {1 << 15}.")


def initial_probabilities(params_like: Any, initial_rho: float) -> Kernels:
    """Equal probabilities (K, M) for kernels of these shapes, such as `RSNN.kernels`."""
    return {name: jnp.full(k.shape, initial_rho, jnp.float32) for name, k in sorted(params_like.items())}


def thresholds(rho: Kernels) -> jax.Array:
    """Probabilities of all kernels as 16-bit thresholds in bit planes: int32 (32, T); rows that pad a word get 0."""
    planes = [bit_planes(jnp.round(rho[n] * LEVELS).astype(jnp.int32)) for n in sorted(rho)]
    return jnp.concatenate([p.reshape(WORD, -1) for p in planes], axis=1)


def member_words(key: jax.Array, planes: jax.Array, member: jax.Array, antithetic: bool) -> jax.Array:
    """All packed synapses of one member, with the probabilities of `thresholds`: uint32 (T,)."""
    pair = member // 2 if antithetic else member
    return bernoulli_words(jax.random.fold_in(key, pair), planes, antithetic & (member % 2 == 1))


def sample_masks(rho: Kernels, key: jax.Array, members: jax.Array, antithetic: bool) -> Kernels:
    """Packed masks of these members: uint32 (len(members), W, M) by kernel."""
    planes = thresholds(rho)
    words = lax.map(lambda member: member_words(key, planes, member, antithetic), members, batch_size=BLOCK)
    return jax.vmap(lambda w: split_words(w, rho))(words)


def rank_gradient(
    rho: Kernels, key: jax.Array, fitness: jax.Array, antithetic: bool, first: jax.Array | int = 0
) -> tuple[Kernels, jax.Array]:
    """Minus the natural gradient of expected rank, and the ranks that it was made with.

        g = -(1/P) sum_i w_i theta_i,  w_i = centred rank of fitness_i in [-0.5, 0.5]

    The sum over members is shared out over the local devices and taken in integers, so that no order of summation changes
    it.

    :param fitness: of members first, ..., first + P - 1: (P,)
    :return: g (K, M) by kernel, and int32 2 (P - 1) w (P,)
    """
    size = fitness.shape[0]
    ranks = doubled_centred_ranks(fitness)  # twice the rank, so that a shared rank stays an integer
    planes = thresholds(rho)
    bits = jnp.arange(WORD, dtype=jnp.uint32)[:, None]

    def add_block(total: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        members, weights = block
        words = jax.vmap(lambda member: member_words(key, planes, member, antithetic))(members)
        for i in range(BLOCK):
            total = total + jnp.where((words[i] >> bits) & 1 != 0, weights[i], 0)
        return total, None

    def add_part(members: jax.Array, weights: jax.Array) -> jax.Array:
        zero = jnp.zeros(planes.shape, jnp.int32)
        return lax.psum(lax.scan(add_block, zero, (members, weights))[0], "device")

    mesh = Mesh(np.array(jax.local_devices()), ("device",))
    padding = -size % (BLOCK * mesh.size)  # members past the end weigh nothing
    members = (first + jnp.arange(size + padding)).reshape(-1, BLOCK)
    weights = jnp.pad(ranks, (0, padding)).reshape(-1, BLOCK)
    split, whole = PartitionSpec("device"), PartitionSpec()
    total = jax.shard_map(add_part, mesh=mesh, in_specs=split, out_specs=whole, check_vma=False)(members, weights)
    return split_planes(-1.0 / (2 * (size - 1) * size) * total, rho), ranks


def deployed(rho: Kernels) -> Kernels:
    """The deterministic network: synapses with rho > 0.5, packed."""
    return {n: pack(p > 0.5) for n, p in rho.items()}


def entropy(p: jax.Array) -> jax.Array:
    """Mean Bernoulli entropy, nats per synapse."""
    return -jnp.mean(p * jnp.log(p) + (1 - p) * jnp.log1p(-p))


def mask_metrics(rho: Kernels) -> Metrics:
    """Expected density and Bernoulli entropy (nats per synapse) of each kernel."""
    out = {}
    for n, p in rho.items():
        out[f"density/{n}"] = jnp.mean(p)
        out[f"entropy/{n}"] = entropy(p)
    return out


def changes(before: Kernels, after: Kernels) -> Metrics:
    """Mean absolute change of each kernel's probabilities."""
    return {f"change/{n}": jnp.mean(jnp.abs(after[n] - before[n])) for n in after}


def split_planes(planes: jax.Array, rho: Kernels) -> Kernels:
    """Undo the concatenation of `thresholds`: (32, T) -> (K, M) by kernel."""
    out, start = {}, 0
    for n in sorted(rho):
        rows, columns = rho[n].shape
        size = num_words(rows) * columns
        out[n] = from_bit_planes(planes[:, start : start + size].reshape(WORD, -1, columns), rows)
        start += size
    return out


def split_words(words: jax.Array, rho: Kernels) -> Kernels:
    """Packed synapses (T,) -> words (W, M) by kernel."""
    out, start = {}, 0
    for n in sorted(rho):
        rows, columns = rho[n].shape
        size = num_words(rows) * columns
        out[n] = words[start : start + size].reshape(-1, columns)
        start += size
    return out
