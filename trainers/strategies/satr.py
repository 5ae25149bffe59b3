"""Evolving Connectivity inside a trust region (after the idea of SATR, arXiv 2601.21572)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from trainers.strategies import masks
from trainers.strategies.masks import Kernels
from trainers.strategies.ranks import doubled_centred_ranks
from trainers.strategies.types import Metrics

EXPANSION = 0.5  # logarithm by which one standard deviation of change widens the trust region


class SATRState(NamedTuple):
    """Connection probabilities rho (float32, in [eps, 1 - eps]) by kernel, and what the trust region goes by.

    `evidence`: running sum (bias not yet corrected) of x below, by kernel; `generation`: how many generations it holds;
    `kl_bound`: kappa below; `last_fitness`: of the generation before, (P,).
    """

    rho: Kernels
    evidence: Kernels
    generation: jax.Array
    kl_bound: jax.Array
    last_fitness: jax.Array


@dataclass(frozen=True)
class SignalAwareTrustRegion:
    """Evolving Connectivity whose steps are bounded in relative entropy, the less signal there is, the tighter.

    Masks theta, ranks w and gradient g are those of `EvolvingConnectivity`. At small populations most of g is noise, and
    steps whose size does not depend on that go on changing a network that is good already. The abstract of arXiv 2601.21572
    bounds the relative entropy of the update of Bernoulli distributions, normalised by the estimated energy of the signal.
    Its formulae were not at hand; these are derived here.

    1. Relative entropy. To second order KL(rho_j + d_j || rho_j) = d_j^2 / (2 v_j) nats, v_j = rho_j (1 - rho_j).
    2. Noise. Suppose that fitness does not depend on synapse j. Then its theta_ij are independent of the ranks, and since
       these sum to zero, g_j of independent members has mean 0 and variance v_j sum_i w_i^2 / P^2. In units of that noise,

           x_j = g_j / sqrt(v_j sum_i w_i^2 / P^2)

       has mean 0 and variance 1. So has, after the mean over generations with weights that fall by `signal_decay` has been
       divided by the root of their sum of squares, z_j.
    3. Trust region of a synapse. The energy of its mean gradient is v_j z_j^2, against 1/4 for noise on an undecided one.
       The relative entropy is bounded by kappa for each unit of the ratio of these energies, and the step reaches the bound:

           KL_j <= kappa 4 v_j z_j^2 / Z,   Z = max(1, mean over all synapses of z^2)
           d_j = 2 v_j z_j sqrt(2 kappa / Z),   rho <- clip(rho + d, eps, 1 - eps)

       which to first order changes the log-odds of equally clear synapses equally. Division by Z bounds the relative entropy
       of the whole network's update by kappa nats a synapse. What is decided is left alone; a bound without the energy (d_j
       in proportion to sqrt(v_j)) pushes decided synapses against eps, from where they can only come back.
    4. Width of the whole region. With 74,000 synapses and 64 members the signal is less than one per cent of the energy of
       g, too little to be told from the noise of one generation. But its effect can be measured: where E[z_j] = s_j, such a
       step raises the expected rank by an amount in proportion to sqrt(kappa) sum_j sqrt(v_j) s_j^2, the energy of the
       signal. The change from one generation to the next,

           u = (U - P^2 / 2) / sqrt(P^2 (2 P + 1) / 12),

       U how many pairs of a new member and a last one the new one wins (Mann and Whitney's statistic: mean 0 and, without
       ties, variance 1 when nothing is better or worse), tells it in units of its noise, and

           kappa <- clip(kappa exp(EXPANSION (min(|u|, 2) - min_change)), kl_min, kl_max)

       expands the trust region while there is something to follow and contracts it where there is nothing (E|u| = 0.8
       without signal). Members that become worse count as a signal too: the statistics of observations go on moving, and a
       network that has stopped learning would have to bear with them. Where kappa is small, steps change little whatever the
       signal, so that it tends to stay small; kl_min keeps it from vanishing. Equal fitness tells nothing and leaves it.

    There is no learning rate. At kl_max = 0.045, where kappa begins, an undecided synapse moves by 0.15 z. docs/dc.md compares
    it with EC.

    :param kl_max: largest relative entropy of an update, nats for each synapse
    :param kl_min: what it falls to where members become neither better nor worse
    :param min_change: |u| that keeps kappa as it is
    :param signal_decay: of the mean over generations, in [0, 1)
    """

    population_size: int = 10240
    eps: float = 1e-3
    antithetic: bool = False
    initial_rho: float = 0.5
    kl_max: float = 0.045
    kl_min: float = 1e-4
    min_change: float = 1.2
    signal_decay: float = 0.9

    def __post_init__(self) -> None:
        masks.check_masks(self.population_size, self.antithetic, self.eps, self.initial_rho)
        if not 0 < self.kl_max < float("inf"):
            raise ValueError(f"kl_max={self.kl_max} must be a positive number of nats.")
        if not 0 < self.kl_min <= self.kl_max:
            raise ValueError(f"kl_min={self.kl_min} must lie in (0, kl_max], here (0, {self.kl_max}].")
        if not 0 <= self.min_change < 2:
            raise ValueError(f"min_change={self.min_change} must lie in [0, 2), in standard deviations.")
        if not 0 <= self.signal_decay < 1:
            raise ValueError(f"signal_decay={self.signal_decay} must lie in [0, 1).")

    def init(self, key: jax.Array, params_like: Mapping[str, Any]) -> SATRState:
        """`params_like`: shapes (K, M) of the boolean kernels, such as `RSNN.kernels`. The key is not used."""
        del key
        rho = masks.initial_probabilities(params_like, self.initial_rho)
        evidence = jax.tree.map(jnp.zeros_like, rho)
        no_fitness = jnp.zeros(self.population_size, jnp.float32)
        return SATRState(rho, evidence, jnp.int32(0), jnp.float32(self.kl_max), no_fitness)

    def sample(self, state: SATRState, key: jax.Array, members: jax.Array) -> Kernels:
        """Packed masks of these members: uint32 (len(members), W, M) by kernel."""
        return masks.sample_masks(state.rho, key, members, self.antithetic)

    def update(self, state: SATRState, key: jax.Array, fitness: jax.Array) -> tuple[SATRState, Metrics]:
        rho, decay, generation = state.rho, self.signal_decay, state.generation + 1
        descent, ranks = masks.rank_gradient(rho, key, fitness, self.antithetic)
        weights = ranks / (2.0 * (self.population_size - 1))
        noise = jnp.sum(weights**2) / self.population_size**2
        # Equal fitness tells nothing, and divides by nothing.
        scale = jnp.where(noise > 0, 1.0 / jnp.sqrt(jnp.where(noise > 0, noise, 1.0)), 0.0)
        told = (state.generation > 0) & (noise > 0)
        change = jnp.where(told, fitness_change(state.last_fitness, fitness), 0.0)
        widened = state.kl_bound * jnp.exp(EXPANSION * (jnp.minimum(jnp.abs(change), 2.0) - self.min_change))
        kl_bound = jnp.where(told, jnp.clip(widened, self.kl_min, self.kl_max), state.kl_bound)
        variance = jax.tree.map(lambda p: p * (1 - p), rho)
        evidence = jax.tree.map(
            lambda e, g, v: decay * e - (1 - decay) * scale * g / jnp.sqrt(v), state.evidence, descent, variance
        )
        # The root of the weights' sum of squares, for weights that are not yet divided by their sum.
        deviation = jnp.sqrt((1 - decay) * (1 - decay ** (2 * generation)) / (1 + decay))
        energy = _mean(jax.tree.map(jnp.square, evidence)) / deviation**2
        step = 2.0 * jnp.sqrt(2.0 * kl_bound / jnp.maximum(energy, 1.0)) / deviation
        moved = jax.tree.map(lambda p, v, e: jnp.clip(p + step * v * e, self.eps, 1 - self.eps), rho, variance, evidence)
        kl = _mean(jax.tree.map(lambda p, q, v: (q - p) ** 2 / (2 * v), rho, moved, variance))
        new = SATRState(moved, evidence, generation, kl_bound, jnp.asarray(fitness, jnp.float32))
        own = {"fitness_change": change, "kl_bound": kl_bound, "kl": kl}
        return new, masks.mask_metrics(moved) | masks.changes(rho, moved) | own

    def mean(self, state: SATRState) -> Kernels:
        """The deterministic network: synapses with rho > 0.5, packed."""
        return masks.deployed(state.rho)


def fitness_change(last: jax.Array, new: jax.Array) -> jax.Array:
    """Mann and Whitney's statistic of two generations' fitness, (P,) each, in units of its deviation under chance; positive
    where the new one is better, 0 where all are equal. Non-finite fitness is worst."""
    size = new.shape[0]
    ranks = doubled_centred_ranks(jnp.concatenate([new, last]))
    return jnp.sum(ranks[:size]) / 2 / (size * math.sqrt((2 * size + 1) / 12))


def _mean(tree: Kernels) -> jax.Array:
    """Over all synapses."""
    return sum((jnp.sum(x) for x in tree.values()), jnp.float32(0.0)) / sum(x.size for x in tree.values())
