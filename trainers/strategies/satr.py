"""Evolving Connectivity inside a trust region (after the idea of SATR, arXiv 2601.21572)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from trainers.strategies import masks
from trainers.strategies.masks import Kernels
from trainers.strategies.optimizers import descend, make_optimizer
from trainers.strategies.types import Metrics


class SATRState(NamedTuple):
    """Connection probabilities rho (float32, in [eps, 1 - eps]) by kernel, the optimiser, and what is known of the signal.

    `excess`: running sum (bias not yet corrected) of E / E0 - 1, where E and E0 are the energies below; `generation`: how
    many it holds.
    """

    rho: Kernels
    opt_state: Any
    learning_rate: jax.Array
    excess: jax.Array
    generation: jax.Array


@dataclass(frozen=True)
class SignalAwareTrustRegion:
    """Evolving Connectivity whose steps are bounded in relative entropy, the less signal there is, the tighter.

    Masks, ranks w and gradient g are those of `EvolvingConnectivity`; so is the step u that the optimiser proposes. At small
    populations most of g is noise, and a step whose size does not depend on that (Adam's is about the learning rate for
    every synapse) carries synapses that do not matter to 0 or 1 within some ten generations, where hardly any sample
    tells about them any more. The abstract of arXiv 2601.21572 bounds the relative entropy of an update, normalised by the
    estimated energy of the signal. Its formulae were not at hand; these are derived here.

    1. Relative entropy. To second order KL(rho + d || rho) = d^2 / (2 rho (1 - rho)) nats, half the squared step in the
       Fisher metric.
    2. Noise. Suppose that fitness does not depend on synapse j. Then its theta_ij are independent of the ranks, and since
       these sum to zero, g_j has mean 0 and variance rho_j (1 - rho_j) sum_i w_i^2 / P^2 exactly. In the Fisher metric all
       synapses are alike, and noise alone gives the gradient the energy

           E = sum_j g_j^2 / (rho_j (1 - rho_j)),   E0 = N sum_i w_i^2 / P^2 expected for N synapses.

    3. Signal. E - E0 estimates the energy of the true gradient without bias (up to what ranks explain, which N makes
       small). With q = E / E0 - 1, averaged over generations with `signal_decay` since a single one is off by sqrt(2 / N),

           r = max(q, 0) / (1 + max(q, 0))

       is the signal's share of the energy. It is also the factor that brings a noisy gradient nearest to the true one
       (Wiener's).
    4. Trust region. The mean relative entropy per synapse may reach kl_max r:

           c = min(1, sqrt(kl_max r / mean_j u_j^2 / (2 rho_j (1 - rho_j))))
           d_j = clip(c u_j, +- sqrt(2 kl_max rho_j (1 - rho_j))),   rho <- clip(rho + d, eps, 1 - eps)

       so that no synapse moves by more than kl_max. Without signal nothing moves. Where noise prevails, r is P / N times
       the share of the ranks' variance that is explained: all synapses together move by kl_max nats for each member's
       worth of evidence, however many they are.

    That is little for a network of tens of thousands of synapses, most of which never matter: with kl_max = 0.03 probabilities
    stay near one half on Brax Hopper, whose entry in zoo_configs has 10. The bound on single synapses then never binds.

    With kl_max so large that it never binds this is EC. The optimiser's default is plain ascent with so large a learning
    rate that the trust region alone sets the step; under Adam its first moments decide the direction.

    :param kl_max: largest relative entropy of a synapse's update, nats
    :param signal_decay: of the running mean of q, in [0, 1)
    """

    population_size: int = 10240
    eps: float = 1e-3
    antithetic: bool = False
    weight_decay: float = 0.0
    optimizer: str = "sgd"
    optimizer_kwargs: Mapping[str, Any] = field(default_factory=dict)
    initial_rho: float = 0.5
    kl_max: float = 0.03
    signal_decay: float = 0.9

    def __post_init__(self) -> None:
        masks.check_masks(self.population_size, self.antithetic, self.eps, self.initial_rho)
        make_optimizer(self.optimizer, **self.optimizer_kwargs)
        if not 0 < self.kl_max < float("inf"):
            raise ValueError(f"kl_max={self.kl_max} must be a positive number of nats.")
        if not 0 <= self.signal_decay < 1:
            raise ValueError(f"signal_decay={self.signal_decay} must lie in [0, 1).")

    def init(self, key: jax.Array, params_like: Mapping[str, Any]) -> SATRState:
        """`params_like`: shapes (K, M) of the boolean kernels, such as `RSNN.kernels`. The key is not used."""
        del key
        rho = masks.initial_probabilities(params_like, self.initial_rho)
        return SATRState(rho, self._optimizer.init(rho), jnp.float32(0.0), jnp.float32(0.0), jnp.int32(0))

    def sample(self, state: SATRState, key: jax.Array, members: jax.Array) -> Kernels:
        """Packed masks of these members: uint32 (len(members), W, M) by kernel."""
        return masks.sample_masks(state.rho, key, members, self.antithetic)

    def update(self, state: SATRState, key: jax.Array, fitness: jax.Array) -> tuple[SATRState, Metrics]:
        rho, rate = state.rho, state.learning_rate
        gradient, ranks = masks.rank_gradient(rho, key, fitness, self.antithetic)
        variance = {n: p * (1 - p) for n, p in rho.items()}
        synapses = sum(p.size for p in rho.values())
        weights = ranks / (2.0 * (self.population_size - 1))
        noise = synapses * jnp.sum(weights**2) / self.population_size**2
        energy = _total({n: g**2 / variance[n] for n, g in gradient.items()})
        told = noise > 0  # equal fitness tells nothing
        surplus = jnp.where(told, energy / jnp.where(told, noise, 1.0) - 1.0, 0.0)
        generation = state.generation + 1
        excess = self.signal_decay * state.excess + (1 - self.signal_decay) * surplus
        q = jnp.maximum(excess / (1 - self.signal_decay**generation), 0.0)
        share = q / (1 + q)

        proposed, opt_state = descend(self._optimizer, state.opt_state, rho, gradient, rate, self.weight_decay)
        step = {n: proposed[n] - rho[n] for n in rho}
        entropy = _total({n: s**2 / (2 * variance[n]) for n, s in step.items()}) / synapses
        scale = jnp.where(entropy > self.kl_max * share, jnp.sqrt(self.kl_max * share / entropy), 1.0)
        limit = {n: jnp.sqrt(2 * self.kl_max * v) for n, v in variance.items()}
        step = {n: jnp.clip(scale * s, -limit[n], limit[n]) for n, s in step.items()}
        moved = {n: jnp.clip(rho[n] + step[n], self.eps, 1 - self.eps) for n in rho}
        new = SATRState(moved, opt_state, rate, excess, generation)
        relative_entropy = _total({n: s**2 / (2 * variance[n]) for n, s in step.items()}) / synapses
        own = {"signal": share, "kl": relative_entropy, "step_scale": scale}
        return new, masks.mask_metrics(moved) | masks.changes(rho, moved) | own

    def mean(self, state: SATRState) -> Kernels:
        """The deterministic network: synapses with rho > 0.5, packed."""
        return masks.deployed(state.rho)

    @property
    def _optimizer(self) -> Any:
        return make_optimizer(self.optimizer, **self.optimizer_kwargs)


def _total(tree: Kernels) -> jax.Array:
    """Sum over all synapses."""
    return sum((jnp.sum(x) for x in tree.values()), jnp.float32(0.0))
