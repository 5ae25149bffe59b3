"""Evolving Connectivity (Wang, Sun, Cheng, Song, NeurIPS 2023, arXiv 2305.17650)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from policies.population.synapses import WORD, bit_planes, from_bit_planes, num_words, pack
from trainers.strategies.bits import LEVELS, bernoulli_words
from trainers.strategies.optimizers import descend, make_optimizer
from trainers.strategies.ranks import doubled_centred_ranks
from trainers.strategies.types import Metrics, check_population_size

Kernels = dict[str, jax.Array]
BLOCK = 16  # members drawn together


class ECState(NamedTuple):
    """Connection probabilities rho (float32, in [eps, 1 - eps]) by kernel, and the optimiser."""

    rho: Kernels
    opt_state: Any
    learning_rate: jax.Array


@dataclass(frozen=True)
class EvolvingConnectivity:
    """Natural evolution of boolean synapses: each exists with its own probability rho.

        theta_i ~ Bernoulli(rho),  w_i = centred rank of fitness_i in [-0.5, 0.5]
        g = -(1/P) sum_i w_i (theta_i - rho) = -(1/P) sum_i w_i theta_i      (the ranks sum to zero)
        rho <- clip(rho + optimiser(g), eps, 1 - eps)

    g estimates the natural gradient: the score (theta - rho) / (rho (1 - rho)) times the inverse Fisher information
    rho (1 - rho). Under Adam (published, lr 0.15) the learning rate is the largest change of a probability in one
    generation. The sum over members is shared out over the local devices and taken in integers, so that no order of
    summation changes it.

    `antithetic` draws members in pairs from u and 1 - u, which halves the noise of linear effects (not published;
    off as in the paper). `weight_decay` pulls every rho towards 0, a cost on connections. What is deployed is
    rho > 0.5. Masks are drawn packed, 32 synapses a word, with probabilities resolved to 1.5e-5, far below eps.
    """

    population_size: int = 10240
    eps: float = 1e-3
    antithetic: bool = False
    weight_decay: float = 0.0
    optimizer: str = "adam"
    optimizer_kwargs: Mapping[str, Any] = field(default_factory=dict)
    initial_rho: float = 0.5

    def __post_init__(self) -> None:
        check_population_size(self.population_size, self.antithetic)
        if not 1 / LEVELS <= self.eps < 0.5:
            raise ValueError(f"eps={self.eps} must lie in [{1 / LEVELS:.2g}, 0.5), the resolution of a draw and a half.")
        if not self.eps <= self.initial_rho <= 1 - self.eps:
            raise ValueError(f"initial_rho={self.initial_rho} must lie in [eps, 1 - eps] with eps={self.eps}.")
        if self.population_size > 1 << 15:
            raise ValueError(f"population_size={self.population_size}: the integer sum over ranks holds up to {1 << 15}.")
        make_optimizer(self.optimizer, **self.optimizer_kwargs)

    def init(self, key: jax.Array, params_like: Mapping[str, Any]) -> ECState:
        """`params_like`: shapes (K, M) of the boolean kernels, such as `RSNN.kernels`. The key is not used."""
        del key
        rho = {name: jnp.full(k.shape, self.initial_rho, jnp.float32) for name, k in sorted(params_like.items())}
        return ECState(rho, self._optimizer.init(rho), jnp.float32(0.0))

    def sample(self, state: ECState, key: jax.Array, members: jax.Array) -> Kernels:
        """Packed masks of these members: uint32 (len(members), W, M) by kernel."""
        thresholds = _thresholds(state.rho)
        words = lax.map(lambda member: self._words(key, thresholds, member), members, batch_size=BLOCK)
        return jax.vmap(lambda w: _split_words(w, state.rho))(words)

    def update(self, state: ECState, key: jax.Array, fitness: jax.Array) -> tuple[ECState, Metrics]:
        ranks = doubled_centred_ranks(fitness)  # twice the rank, so that a shared rank stays an integer
        thresholds = _thresholds(state.rho)
        bits = jnp.arange(WORD, dtype=jnp.uint32)[:, None]

        def add_block(total: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            members, weights = block
            words = jax.vmap(lambda member: self._words(key, thresholds, member))(members)
            for i in range(BLOCK):
                total = total + jnp.where((words[i] >> bits) & 1 != 0, weights[i], 0)
            return total, None

        def add_part(members: jax.Array, weights: jax.Array) -> jax.Array:
            zero = jnp.zeros(thresholds.shape, jnp.int32)
            return lax.psum(lax.scan(add_block, zero, (members, weights))[0], "device")

        mesh = Mesh(np.array(jax.local_devices()), ("device",))
        padding = -self.population_size % (BLOCK * mesh.size)  # members past the end weigh nothing
        members = jnp.arange(self.population_size + padding).reshape(-1, BLOCK)
        weights = jnp.pad(ranks, (0, padding)).reshape(-1, BLOCK)
        split, whole = PartitionSpec("device"), PartitionSpec()
        total = jax.shard_map(add_part, mesh=mesh, in_specs=split, out_specs=whole, check_vma=False)(members, weights)
        scale = -1.0 / (2 * (self.population_size - 1) * self.population_size)
        gradient = _split_planes(scale * total, state.rho)
        rho, opt_state = descend(self._optimizer, state.opt_state, state.rho, gradient, state.learning_rate, self.weight_decay)
        rho = {n: jnp.clip(p, self.eps, 1 - self.eps) for n, p in rho.items()}
        new = ECState(rho, opt_state, state.learning_rate)
        change = {n: jnp.mean(jnp.abs(rho[n] - state.rho[n])) for n in rho}
        return new, self.metrics(new) | {f"change/{n}": c for n, c in change.items()}

    def mean(self, state: ECState) -> Kernels:
        """The deterministic network: synapses with rho > 0.5, packed."""
        return {n: pack(p > 0.5) for n, p in state.rho.items()}

    def metrics(self, state: ECState) -> Metrics:
        """Expected density and Bernoulli entropy (nats per synapse) of each kernel."""
        out = {}
        for n, p in state.rho.items():
            out[f"density/{n}"] = jnp.mean(p)
            out[f"entropy/{n}"] = -jnp.mean(p * jnp.log(p) + (1 - p) * jnp.log1p(-p))
        return out

    @property
    def _optimizer(self) -> Any:
        return make_optimizer(self.optimizer, **self.optimizer_kwargs)

    def _words(self, key: jax.Array, thresholds: jax.Array, member: jax.Array) -> jax.Array:
        """All packed synapses of one member: uint32 (T,)."""
        pair = member // 2 if self.antithetic else member
        return bernoulli_words(jax.random.fold_in(key, pair), thresholds, self.antithetic & (member % 2 == 1))


def _thresholds(rho: Kernels) -> jax.Array:
    """Probabilities of all kernels as 16-bit thresholds in bit planes: int32 (32, T); rows that pad a word get 0."""
    planes = [bit_planes(jnp.round(rho[n] * LEVELS).astype(jnp.int32)) for n in sorted(rho)]
    return jnp.concatenate([p.reshape(WORD, -1) for p in planes], axis=1)


def _split_planes(planes: jax.Array, rho: Kernels) -> Kernels:
    """Undo the concatenation of `_thresholds`: (32, T) -> (K, M) by kernel."""
    out, start = {}, 0
    for n in sorted(rho):
        rows, columns = rho[n].shape
        size = num_words(rows) * columns
        out[n] = from_bit_planes(planes[:, start : start + size].reshape(WORD, -1, columns), rows)
        start += size
    return out


def _split_words(words: jax.Array, rho: Kernels) -> Kernels:
    """Packed synapses (T,) -> words (W, M) by kernel."""
    out, start = {}, 0
    for n in sorted(rho):
        rows, columns = rho[n].shape
        size = num_words(rows) * columns
        out[n] = words[start : start + size].reshape(-1, columns)
        start += size
    return out
