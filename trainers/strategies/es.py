"""Evolution strategy with Gaussian perturbations (Salimans et al. 2017, arXiv 1703.03864)."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from policies.names import choose
from trainers.strategies.bits import normal_pairs
from trainers.strategies.optimizers import descend, make_optimizer
from trainers.strategies.ranks import SHAPINGS
from trainers.strategies.types import Metrics, Params, check_population_size

Pairs = list[tuple[jax.Array, jax.Array]]
PARTS = 16  # sums of the update, whatever the number of devices
BLOCK = 4  # draws added to a sum together
PRECISIONS = {"float32": jnp.float32, "float16": jnp.float16}


class ESState(NamedTuple):
    """Mean parameters, optimiser, step size and standard deviation of the perturbations."""

    params: Params
    opt_state: Any
    learning_rate: jax.Array
    sigma: jax.Array


@dataclass(frozen=True)
class EvolutionStrategy:
    """Antithetic OpenAI-ES over any pytree of floats.

        theta_{2j}, theta_{2j+1} = mean +- sigma * eps_j,  w_i = rank of fitness_i - l2 * mean(theta_i^2)
        g = -(1 / (P sigma)) sum_j (w_{2j} - w_{2j+1}) eps_j
        mean <- mean + optimiser(g) - learning_rate * weight_decay * mean

    With `antithetic=False` every member has its own eps and g = -(1 / (P sigma)) sum_i w_i eps_i. Perturbations are
    regenerated from (key, leaf, index) for the update, never stored.

    With optimizer="sgd", ranks="standardized", l2=0.01 and weight_decay=0 it is the strategy with which Hebbian rules were
    evolved (Najarro & Risi, NeurIPS 2020, arXiv 2007.02686, released code). There, the penalty leaves out what is evolved
    beside a table of rules (convolutions, initial weights) and is missing without worker processes, and members of equal
    fitness are ranked by their index; here, the penalty is on all parameters and equal members share their rank.

    :param ranks: "centred", or "standardized": divided by their standard deviation
    :param l2: penalty on the mean square of a member's parameters, before ranking
    :param precision: in which parameters are handed out, "float32" or "float16". Half as much memory is moved in every
        step of a network whose parameters are used one by one, such as `Hebbian`; networks go on computing in float32.
        The update takes the exact perturbations; a member was played with them rounded to 11 significant bits.
    """

    population_size: int = 10240
    antithetic: bool = True
    weight_decay: float = 0.1
    optimizer: str = "adam"
    optimizer_kwargs: Mapping[str, Any] = field(default_factory=dict)
    ranks: str = "centred"
    l2: float = 0.0
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_population_size(self.population_size, self.antithetic)
        choose("ranks", self.ranks, SHAPINGS)
        choose("precision", self.precision, PRECISIONS)
        if not 0 <= self.l2 < math.inf:
            raise ValueError(f"l2={self.l2} must be a number of at least 0.")
        make_optimizer(self.optimizer, **self.optimizer_kwargs)

    def init(self, key: jax.Array, params_like: Params) -> ESState:
        """`params_like`: the starting point, such as `network.init(key)`. The key is not used."""
        del key
        return ESState(params_like, self._optimizer.init(params_like), jnp.float32(0.0), jnp.float32(0.0))

    def sample(self, state: ESState, key: jax.Array, members: jax.Array) -> Params:
        """Perturbed parameters of these members, each leaf with a leading axis of len(members)."""

        def draw(member: jax.Array) -> Params:
            step = state.sigma * self._sign(member)
            noise = _noise(state.params, key, member // 2 if self.antithetic else member)
            return self._rounded(jax.tree.map(lambda p, e: p + step * e, state.params, noise))

        return lax.map(draw, members)

    def update(self, state: ESState, key: jax.Array, fitness: jax.Array) -> tuple[ESState, Metrics]:
        if self.l2:
            fitness = fitness - self.l2 * self._mean_squares(state, key)
        ranks = SHAPINGS[self.ranks](fitness)
        weights = ranks[::2] - ranks[1::2] if self.antithetic else ranks

        total = _weighted_noise(state.params, key, weights)
        gradient = jax.tree.map(lambda t: -t / (self.population_size * state.sigma), total)
        params, opt_state = descend(
            self._optimizer, state.opt_state, state.params, gradient, state.learning_rate, self.weight_decay
        )
        new = state._replace(params=params, opt_state=opt_state)
        return new, self.metrics(new)

    def mean(self, state: ESState) -> Params:
        """The unperturbed parameters."""
        return self._rounded(state.params)

    def metrics(self, state: ESState) -> Metrics:
        """Euclidean norm of all parameters."""
        squares = [jnp.sum(p**2) for p in jax.tree.leaves(state.params)]
        return {"param_norm": jnp.sqrt(sum(squares, jnp.float32(0.0)))}

    @property
    def _optimizer(self) -> Any:
        return make_optimizer(self.optimizer, **self.optimizer_kwargs)

    def _rounded(self, params: Params) -> Params:
        return jax.tree.map(lambda p: p.astype(PRECISIONS[self.precision]), params)

    def _sign(self, member: jax.Array) -> jax.Array:
        return jnp.where(member % 2 == 0, 1.0, -1.0) if self.antithetic else jnp.float32(1.0)

    def _mean_squares(self, state: ESState, key: jax.Array) -> jax.Array:
        """Mean square of each member's parameters, (population_size,)."""

        def mean_square(member: jax.Array) -> jax.Array:
            leaves = jax.tree.leaves(self.sample(state, key, member[None]))
            return sum((jnp.sum(x.astype(jnp.float32) ** 2) for x in leaves), jnp.float32(0.0)) / sum(x.size for x in leaves)

        return lax.map(mean_square, jnp.arange(self.population_size))


def _noise(params: Params, key: jax.Array, draw: jax.Array) -> Params:
    """Standard normal numbers of one draw for every leaf."""

    def of_leaf(i: int, p: jax.Array) -> jax.Array:
        half = jnp.arange(2)[:, None]
        t = jnp.broadcast_to(_counters(p), (2, (p.size + 1) // 2))
        # Both numbers of a pair are computed for each half: putting two arrays together would take longer.
        numbers = jnp.where(half == 0, *normal_pairs(jax.random.fold_in(key, i), t, draw))
        return numbers.reshape(-1)[: p.size].reshape(p.shape).astype(p.dtype)

    leaves, structure = jax.tree.flatten(params)
    return jax.tree.unflatten(structure, [of_leaf(i, p) for i, p in enumerate(leaves)])


def _counters(p: jax.Array) -> jax.Array:
    return jnp.arange((p.size + 1) // 2, dtype=jnp.uint32)


def _weighted_noise(params: Params, key: jax.Array, weights: jax.Array) -> Params:
    """sum_j weights_j eps_j over all draws j.

    Shared out over the local devices in `PARTS` sums, which are added in the same order on any number of devices. (Weights
    cut by the compiler's own partitioning, not by the device's number, would be rounded as they are cut.)
    """
    mesh = Mesh(np.array(jax.local_devices()), ("device",))
    share = math.ceil(PARTS / mesh.size)  # sums of each device; those past the last are of draws that weigh nothing
    blocks = math.ceil(weights.shape[0] / (PARTS * BLOCK))
    shape = (PARTS, blocks, BLOCK)
    draws = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    weights = jnp.pad(weights, (0, math.prod(shape) - weights.shape[0])).reshape(shape)
    leaves, structure = jax.tree.flatten(params)
    keys = [jax.random.fold_in(key, i) for i in range(len(leaves))]
    zero = [(jnp.zeros((p.size + 1) // 2),) * 2 for p in leaves]  # the halves of each leaf, see `_noise`

    def add_block(total: Pairs, block: tuple[jax.Array, jax.Array]) -> tuple[Pairs, None]:
        for draw, weight in zip(*block, strict=True):
            noise = [normal_pairs(k, _counters(p), draw) for k, p in zip(keys, leaves, strict=True)]
            total = jax.tree.map(lambda t, e, w=weight: t + w * e, total, noise)
        return total, None

    def add_parts(draws: jax.Array, weights: jax.Array) -> Pairs:
        own = lax.axis_index("device") * share + jnp.arange(share)
        mine = draws[own % PARTS], jnp.where((own < PARTS)[:, None, None], weights[own % PARTS], 0.0)
        sums = lax.map(lambda part: lax.scan(add_block, zero, part)[0], mine)
        everyone = lax.all_gather(sums, "device", tiled=True)
        return jax.tree.map(lambda x: functools.reduce(jnp.add, [x[i] for i in range(PARTS)]), everyone)

    add_all = jax.shard_map(add_parts, mesh=mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec(), check_vma=False)
    sums = [jnp.concatenate(halves)[: p.size] for p, halves in zip(leaves, add_all(draws, weights), strict=True)]
    return jax.tree.unflatten(structure, [x.reshape(p.shape).astype(p.dtype) for p, x in zip(leaves, sums, strict=True)])
