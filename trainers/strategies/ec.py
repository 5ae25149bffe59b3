"""Evolving Connectivity (Wang, Sun, Cheng, Song, NeurIPS 2023, arXiv 2305.17650)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from trainers.strategies import masks
from trainers.strategies.masks import Kernels
from trainers.strategies.optimizers import descend, make_optimizer
from trainers.strategies.types import Metrics


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
    generation.

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
        masks.check_masks(self.population_size, self.antithetic, self.eps, self.initial_rho)
        make_optimizer(self.optimizer, **self.optimizer_kwargs)

    def init(self, key: jax.Array, params_like: Mapping[str, Any]) -> ECState:
        """`params_like`: shapes (K, M) of the boolean kernels, such as `RSNN.kernels`. The key is not used."""
        del key
        rho = masks.initial_probabilities(params_like, self.initial_rho)
        return ECState(rho, self.start_optimizer(rho), jnp.float32(0.0))

    def sample(self, state: ECState, key: jax.Array, members: jax.Array) -> Kernels:
        """Packed masks of these members: uint32 (len(members), W, M) by kernel."""
        return masks.sample_masks(state.rho, key, members, self.antithetic)

    def update(self, state: ECState, key: jax.Array, fitness: jax.Array) -> tuple[ECState, Metrics]:
        gradient, _ = masks.rank_gradient(state.rho, key, fitness, self.antithetic)
        new = self.step(state, gradient)
        return new, self.metrics(new) | masks.changes(state.rho, new.rho)

    def step(self, state: ECState, gradient: Kernels) -> ECState:
        """The state after a step of the optimiser."""
        optimizer = make_optimizer(self.optimizer, **self.optimizer_kwargs)
        rho, opt_state = descend(optimizer, state.opt_state, state.rho, gradient, state.learning_rate, self.weight_decay)
        rho = {n: jnp.clip(p, self.eps, 1 - self.eps) for n, p in rho.items()}
        return ECState(rho, opt_state, state.learning_rate)

    def start_optimizer(self, rho: Kernels) -> Any:
        """State of an optimiser that has made no step yet."""
        return make_optimizer(self.optimizer, **self.optimizer_kwargs).init(rho)

    def mean(self, state: ECState) -> Kernels:
        """The deterministic network: synapses with rho > 0.5, packed."""
        return masks.deployed(state.rho)

    def metrics(self, state: ECState) -> Metrics:
        """Expected density and Bernoulli entropy (nats per synapse) of each kernel."""
        return masks.mask_metrics(state.rho)
