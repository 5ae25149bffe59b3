"""Evolving Connectivity inside a trust region (after the idea of SATR, arXiv 2601.21572)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from trainers.strategies import masks
from trainers.strategies.masks import Kernels
from trainers.strategies.types import Metrics


class SATRState(NamedTuple):
    """Connection probabilities rho (float32, in [eps, 1 - eps]) by kernel, and what the generations have told of each synapse.

    `evidence`: running sum (bias not yet corrected) of x below, by kernel; `generation`: how many generations it holds.
    """

    rho: Kernels
    evidence: Kernels
    generation: jax.Array


@dataclass(frozen=True)
class SignalAwareTrustRegion:
    """Evolving Connectivity whose steps are bounded in relative entropy, the less signal there is, the tighter.

    Masks theta, ranks w and gradient g are those of `EvolvingConnectivity`. At small populations most of g is noise, and a
    step whose size does not depend on that (Adam's is about the learning rate for every synapse) goes on moving synapses
    that are decided, and decides those that do not matter. The abstract of arXiv 2601.21572 bounds the relative entropy of
    every Bernoulli update, normalised by the estimated energy of the signal. Its formulae were not at hand; these are
    derived here.

    1. Relative entropy. To second order KL(rho + d || rho) = d^2 / (2 rho (1 - rho)) nats.
    2. Noise. Suppose that fitness does not depend on synapse j. Then its theta_ij are independent of the ranks, and since
       these sum to zero, g_j has mean 0 and variance rho_j (1 - rho_j) sum_i w_i^2 / P^2 exactly. In units of that noise,

           x_j = g_j / sqrt(rho_j (1 - rho_j) sum_i w_i^2 / P^2)

       has mean 0 and variance 1. So has, after the mean over generations with weights that fall by `signal_decay` has been
       divided by the root of their sum of squares, z_j.
    3. Signal. A synapse that matters adds to z_j^2, whose noise is 1: the signal's share of its energy is estimated by

           share_j = max(0, 1 - 1 / z_j^2)

       which is also the factor by which a noisy estimate is best shrunk (Wiener's, and James and Stein's).
    4. Trust region. Every synapse moves by the relative entropy kl_max share_j, in the direction of its evidence:

           d_j = sign(z_j) sqrt(2 kl_max share_j rho_j (1 - rho_j)),   rho <- clip(rho + d, eps, 1 - eps)

    There is no learning rate. Two of three synapses that do not matter stand still in a generation, and the others move in
    changing directions. A step is the shorter, the more is decided: at kl_max = 0.02 at most 0.1 at rho = 1/2, where EC's
    under Adam is 0.15, but 0.006 at rho = 0.001, where EC's would still be 0.15.

    It suits objectives in which single synapses matter (HalfOneMax). On Hopper, where each carries little of the signal, EC
    learns sooner and falls less (docs/dc.md).

    :param kl_max: largest relative entropy of a synapse's update, nats
    :param signal_decay: of the mean over generations, in [0, 1)
    """

    population_size: int = 10240
    eps: float = 1e-3
    antithetic: bool = False
    initial_rho: float = 0.5
    kl_max: float = 0.02
    signal_decay: float = 0.9

    def __post_init__(self) -> None:
        masks.check_masks(self.population_size, self.antithetic, self.eps, self.initial_rho)
        if not 0 < self.kl_max < float("inf"):
            raise ValueError(f"kl_max={self.kl_max} must be a positive number of nats.")
        if not 0 <= self.signal_decay < 1:
            raise ValueError(f"signal_decay={self.signal_decay} must lie in [0, 1).")

    def init(self, key: jax.Array, params_like: Mapping[str, Any]) -> SATRState:
        """`params_like`: shapes (K, M) of the boolean kernels, such as `RSNN.kernels`. The key is not used."""
        del key
        rho = masks.initial_probabilities(params_like, self.initial_rho)
        return SATRState(rho, jax.tree.map(jnp.zeros_like, rho), jnp.int32(0))

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
        remaining = decay**generation
        # The root of the weights' sum of squares, for weights that are not yet divided by their sum.
        deviation = jnp.sqrt((1 - decay) * (1 - remaining**2) / (1 + decay))
        moved, evidence, share, entropy = {}, {}, {}, {}
        for name, p in rho.items():
            variance = p * (1 - p)
            evidence[name] = decay * state.evidence[name] - (1 - decay) * scale * descent[name] / jnp.sqrt(variance)
            z = evidence[name] / deviation
            share[name] = jnp.where(jnp.abs(z) > 1, 1 - 1 / jnp.where(jnp.abs(z) > 1, z, 1.0) ** 2, 0.0)
            step = jnp.sign(z) * jnp.sqrt(2 * self.kl_max * share[name] * variance)
            moved[name] = jnp.clip(p + step, self.eps, 1 - self.eps)
            entropy[name] = (moved[name] - p) ** 2 / (2 * variance)
        new = SATRState(moved, evidence, generation)
        own = {"signal": _mean(share), "kl": _mean(entropy)}
        return new, masks.mask_metrics(moved) | masks.changes(rho, moved) | own

    def mean(self, state: SATRState) -> Kernels:
        """The deterministic network: synapses with rho > 0.5, packed."""
        return masks.deployed(state.rho)


def _mean(tree: Kernels) -> jax.Array:
    """Over all synapses."""
    return sum((jnp.sum(x) for x in tree.values()), jnp.float32(0.0)) / sum(x.size for x in tree.values())
