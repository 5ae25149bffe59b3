"""Distributional Crossover: several probability tables that evolve connectivity each, and are crossed and selected."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree

from policies.names import choose
from trainers.strategies import masks
from trainers.strategies.crossover import OPERATORS
from trainers.strategies.ec import ECState, EvolvingConnectivity
from trainers.strategies.masks import Kernels
from trainers.strategies.types import Metrics

OFFSPRING = 2**31  # what a generation's key is folded with for the children; for its members, their indices
SELECTIONS = ("sampled", "deployed")


class DCState(NamedTuple):
    """M distributions: probabilities rho (M, K, N) by kernel, their optimisers, and the last fitness of each (M,).

    `generation` counts, and tells when to cross.
    """

    rho: Kernels
    opt_state: Any
    learning_rate: jax.Array
    fitness: jax.Array
    generation: jax.Array


class Candidates(NamedTuple):
    """Those who compete in a generation of crossover, parents before children: leaves (M + K, ...)."""

    rho: Kernels
    opt_state: Any


@dataclass(frozen=True)
class DistributionalCrossover:
    """A population of distributions over masks. No paper describes it; this is the cleaned-up form of its released code.

    A generation is one of two kinds. Local: each of the M distributions plays P / M samples and makes the step of
    `EvolvingConnectivity` that they tell; with M = 1 and no crossover, this strategy is that one bit for bit. Crossover,
    every `crossover_every` generations: K = int(M ratio) children are made of two different parents each, by an operator of
    `trainers.strategies.crossover`, mutated with Gaussian noise, and clipped to [eps, 1 - eps] whatever the operator. Parents
    and children share the P samples out evenly, all play anew with the same statistics of observations, and the M of highest
    mean return are kept as they were played: nobody makes a step, and no parent lives on a lucky old result. So generations
    of both kinds play the same number of episodes. Children are made again wherever they are needed, from the state and the
    generation's key.

    The n-th samples of all candidates play on the same start states, fresh in every generation. Samples without a finite
    return count as the worst finite one of their generation. What is deployed is rho > 0.5 of the distribution whose last
    fitness was highest (after a local generation, that of the samples of its last step).

    :param population_size: samples per generation of all distributions together, a multiple of `num_distributions`
    :param num_distributions: M
    :param crossover: "arithmetic", "mean", "random_pick", "logits" or "samples"
    :param crossover_every: every so many generations distributions are crossed; 0 for never
    :param crossover_only: cross in every generation, and make no local step
    :param offspring_ratio: children for each distribution
    :param mutation: standard deviation of the noise on a child's probabilities
    :param selection: what candidates are judged by, "sampled" masks or the "deployed" one, over as many episodes
    :param mix_moments: children start with the mean of their parents' optimisers (counters: the larger), instead of afresh
    :param jitter: standard deviation of the first probabilities around `initial_rho`
    """

    population_size: int = 10240
    num_distributions: int = 4
    eps: float = 1e-3
    antithetic: bool = False
    weight_decay: float = 0.0
    optimizer: str = "adam"
    optimizer_kwargs: Mapping[str, Any] = field(default_factory=dict)
    initial_rho: float = 0.5
    crossover: str = "random_pick"
    crossover_every: int = 10
    crossover_only: bool = False
    offspring_ratio: float = 2.0
    mutation: float = 0.01
    selection: str = "sampled"
    mix_moments: bool = False
    jitter: float = 0.0

    def __post_init__(self) -> None:
        size, m = self.population_size, self.num_distributions
        if m < 1:
            raise ValueError(f"num_distributions={m} must be at least 1.")
        if size % m:
            raise ValueError(f"population_size={size} is not a multiple of num_distributions={m}; use {size // m * m or m}.")
        masks.check_masks(size, self.antithetic, self.eps, self.initial_rho)
        _ = self.local  # refuses what EC refuses
        choose("crossover", self.crossover, OPERATORS)
        choose("selection", self.selection, dict.fromkeys(SELECTIONS))
        for name in ("crossover_every", "offspring_ratio", "mutation", "jitter"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0.")
        if not self.crosses:
            return
        if m < 2:
            raise ValueError("Crossover takes two parents; use num_distributions=2 or more, or crossover_every=0.")
        if self.num_children < 1:
            raise ValueError(f"offspring_ratio={self.offspring_ratio} of {m} distributions is no child; use {1 / m} or more.")
        if m + self.num_children > size:
            raise ValueError(
                f"population_size={size} leaves some of {m} distributions and {self.num_children} children without a sample."
            )

    @property
    def crosses(self) -> bool:
        """Whether there are generations of crossover."""
        return self.crossover_only or self.crossover_every > 0

    @property
    def num_children(self) -> int:
        """K."""
        return int(self.num_distributions * self.offspring_ratio)

    @property
    def local(self) -> EvolvingConnectivity:
        """What each distribution does by itself."""
        share = self.population_size // self.num_distributions
        return EvolvingConnectivity(
            share, self.eps, self.antithetic, self.weight_decay, self.optimizer, self.optimizer_kwargs, self.initial_rho
        )

    def init(self, key: jax.Array, params_like: Mapping[str, Any]) -> DCState:
        """`params_like`: shapes (K, N) of the boolean kernels, such as `RSNN.kernels`. The key draws the jitter."""

        def start(key: jax.Array) -> tuple[Kernels, Any]:
            rho = masks.initial_probabilities(params_like, self.initial_rho)
            if self.jitter:
                rho = self._with_noise(rho, key, self.jitter)
            return rho, self.local.start_optimizer(rho)

        rho, opt_state = jax.vmap(start)(jax.random.split(key, self.num_distributions))
        return DCState(rho, opt_state, jnp.float32(0.0), jnp.zeros(self.num_distributions), jnp.int32(0))

    def sample(self, state: DCState, key: jax.Array, members: jax.Array) -> Kernels:
        """Packed masks of these members: uint32 (len(members), W, N) by kernel."""
        owners, planes = self._either(state, self._all_planes, self._own_planes, state, key)

        def words(member: jax.Array) -> jax.Array:
            return masks.member_words(key, planes[owners[member]], member, self.antithetic)

        drawn = lax.map(words, members, batch_size=masks.BLOCK)
        return jax.vmap(lambda w: masks.split_words(w, _row(state.rho, 0)))(drawn)

    def streams(self, state: DCState) -> np.ndarray:
        """Whose random numbers the episodes of each member (P,) are played on: its own, in a crossover those of the sample of
        the same number of the first candidate."""
        members = np.arange(self.population_size)
        crosses = self.crossover_only or (self.crosses and (int(state.generation) + 1) % self.crossover_every == 0)
        owners = self._owners(self._num_candidates if crosses else 1)
        return members - np.searchsorted(owners, owners)

    def update(self, state: DCState, key: jax.Array, fitness: jax.Array) -> tuple[DCState, Metrics]:
        new, kept = self._either(state, self._select, self._step, state, key, fitness)
        return new, self.metrics(new) | {"children_kept": kept} | masks.changes(self._best(state), self._best(new))

    def mean(self, state: DCState) -> Kernels:
        """The deterministic network of the best distribution: synapses with rho > 0.5, packed."""
        return masks.deployed(self._best(state))

    def metrics(self, state: DCState) -> Metrics:
        """Fitness and entropy (nats per synapse) of each distribution, the mean distance |rho_a - rho_b| over synapses and
        pairs, and density and entropy of each kernel of the best."""
        flat = _flat(state.rho)
        out: Metrics = {}
        for i in range(self.num_distributions):
            out[f"fitness_{i}"] = state.fitness[i]
            out[f"entropy_{i}"] = masks.entropy(flat[i])
        pairs = combinations(range(self.num_distributions), 2)
        distances = {f"distance_{i}_{j}": jnp.mean(jnp.abs(flat[i] - flat[j])) for i, j in pairs}
        if distances:
            out["distance"] = jnp.mean(jnp.stack(list(distances.values())))
        out |= distances
        return out | masks.mask_metrics(self._best(state))

    @property
    def _num_candidates(self) -> int:
        return self.num_distributions + self.num_children

    def _owners(self, groups: int) -> np.ndarray:
        """Which of so many distributions each member is a sample of: int (P,); groups differ by one member at most."""
        return np.arange(self.population_size) * groups // self.population_size

    def _either(self, state: DCState, crossover: Callable[..., Any], local: Callable[..., Any], *args: Any) -> Any:
        """What the first function gives in a generation of crossover, the last of every `crossover_every`, else the other."""
        if not self.crosses:
            return local(*args)
        if self.crossover_only:
            return crossover(*args)
        return lax.cond((state.generation + 1) % self.crossover_every == 0, crossover, local, *args)

    def _own_planes(self, state: DCState, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The distribution of each member (P,), and thresholds of each distribution; zeros stand for the children."""
        planes = jax.vmap(masks.thresholds)(state.rho)
        absent = self.num_children if self.crosses else 0
        return jnp.asarray(self._owners(self.num_distributions)), jnp.pad(planes, ((0, absent), (0, 0), (0, 0)))

    def _all_planes(self, state: DCState, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The candidate of each member (P,), and thresholds of each candidate."""
        rho = self._candidates(state, key).rho
        if self.selection == "deployed":
            rho = {n: (p > 0.5).astype(jnp.float32) for n, p in rho.items()}
        return jnp.asarray(self._owners(self._num_candidates)), jax.vmap(masks.thresholds)(rho)

    def _best(self, state: DCState) -> Kernels:
        return _row(state.rho, jnp.argmax(state.fitness))

    def _step(self, state: DCState, key: jax.Array, fitness: jax.Array) -> tuple[DCState, jax.Array]:
        """Each distribution makes its own step."""
        m = self.num_distributions
        mean = _finite(fitness).reshape(m, -1).mean(1)

        def gradient(one: tuple[Kernels, jax.Array, jax.Array]) -> Kernels:
            rho, fitness, first = one
            return masks.rank_gradient(rho, key, fitness, self.antithetic, first)[0]

        firsts = jnp.arange(m) * (self.population_size // m)
        gradients = lax.map(gradient, (state.rho, fitness.reshape(m, -1), firsts))
        # Not in a loop: a single distribution is then compiled, and rounded, as EC is.
        stepped = [
            self.local.step(ECState(_row(state.rho, i), _row(state.opt_state, i), state.learning_rate), _row(gradients, i))
            for i in range(m)
        ]
        rho, opt_state = jax.tree.map(lambda *x: jnp.stack(x), *((s.rho, s.opt_state) for s in stepped))
        new = state._replace(rho=rho, opt_state=opt_state, fitness=mean, generation=state.generation + 1)
        return new, jnp.int32(0)

    def _select(self, state: DCState, key: jax.Array, fitness: jax.Array) -> tuple[DCState, jax.Array]:
        """The best of parents and children; those of equal fitness in this order."""
        candidates = self._candidates(state, key)
        owners = self._owners(self._num_candidates)
        total = jax.ops.segment_sum(_finite(fitness), owners, self._num_candidates)
        mean = total / np.bincount(owners)
        best = jnp.argsort(-mean, stable=True)[: self.num_distributions]
        rho, opt_state = _row(candidates, best)
        new = state._replace(rho=rho, opt_state=opt_state, fitness=mean[best], generation=state.generation + 1)
        return new, jnp.sum(best >= self.num_distributions)

    def _candidates(self, state: DCState, key: jax.Array) -> Candidates:
        """The distributions and their children."""
        keys = jax.random.split(jax.random.fold_in(key, OFFSPRING), self.num_children)
        rho, opt_state = lax.map(lambda k: self._child(state, k), keys)
        return jax.tree.map(lambda old, new: jnp.concatenate([old, new]), Candidates(state.rho, state.opt_state),
                            Candidates(rho, opt_state))  # fmt: skip

    def _child(self, state: DCState, key: jax.Array) -> tuple[Kernels, Any]:
        """A child of two different parents."""
        parents_key, operator_key, mutation_key = jax.random.split(key, 3)
        one, other = jax.random.permutation(parents_key, self.num_distributions)[:2]
        (a, unravel), (b, _) = (ravel_pytree(_row(state.rho, parent)) for parent in (one, other))
        mixed = OPERATORS[self.crossover](operator_key, a, b)
        rho = self._with_noise(unravel(mixed), mutation_key, self.mutation)
        if not self.mix_moments:
            return rho, self.local.start_optimizer(rho)
        return rho, jax.tree.map(lambda x: _mix(x[one], x[other]), state.opt_state)

    def _with_noise(self, rho: Kernels, key: jax.Array, deviation: float) -> Kernels:
        """Gaussian noise on every probability, clipped to [eps, 1 - eps]."""
        flat, unravel = ravel_pytree(rho)
        flat = flat + deviation * jax.random.normal(key, flat.shape)
        return unravel(jnp.clip(flat, self.eps, 1 - self.eps))


def _row(tree: Any, index: jax.Array | int) -> Any:
    """Leaves at `index` of their leading axis."""
    return jax.tree.map(lambda x: x[index], tree)


def _flat(rho: Kernels) -> jax.Array:
    """All probabilities of each distribution, (M, synapses)."""
    return jnp.concatenate([p.reshape(p.shape[0], -1) for p in rho.values()], axis=1)


def _finite(fitness: jax.Array) -> jax.Array:
    """Fitness with the least finite one (0 when there is none) in place of what is no number."""
    least = jnp.min(jnp.where(jnp.isfinite(fitness), fitness, jnp.inf))
    return jnp.where(jnp.isfinite(fitness), fitness, jnp.where(jnp.isfinite(least), least, 0.0))


def _mix(a: jax.Array, b: jax.Array) -> jax.Array:
    return (a + b) / 2 if jnp.issubdtype(a.dtype, jnp.floating) else jnp.maximum(a, b)
