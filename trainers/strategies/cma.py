"""Covariance matrix adaptation (Hansen & Ostermeier 2001) by pycma, on the host."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from policies.names import choose
from trainers.strategies.cma_variants import VARIANTS, Variant, degenerate, make, read, settle, write
from trainers.strategies.ranks import doubled_centred_ranks
from trainers.strategies.types import Metrics, Params, check_population_size


class CMAState(NamedTuple):
    """Everything that pycma has learned, and the members of this generation."""

    origin: Params
    """Where the search starts, and starts again."""
    population: Any
    """Flat members of this generation, float32 (P, N)."""
    mean: Any
    """Mean of the search distribution, float32 (N,)."""
    search: Any
    """pycma's variables after the last iteration by name: float64 as pairs of uint32, because JAX keeps 32 bits."""
    seed: Any
    """Of the draws of this iteration, uint32 (2,)."""
    restart: Any
    """Restarts so far, int32."""
    part: Any
    """Generations of this iteration that are done, int32."""
    fitness: Any
    """Theirs, float32 (2**restarts, P)."""
    best: Any
    """Best median fitness of an iteration since the restart, float32."""
    since: Any
    """Iterations since then, int32."""


@dataclass(frozen=True)
class CMA:
    """CMA-ES over the flattened parameters of any network of floats: pycma asks and is told.

        theta_i ~ Normal(mean, sigma^2 C)
        mean, sigma and C move towards the better half of the members (Hansen, arXiv 1604.00772)

    `variant` says what C may be: "full", any (memory and time per sample N^2, and N^3 for its eigenvectors now and then);
    "sep", diagonal (Ros & Hansen 2008); "vd", D (I + v v^T) D (Akimoto, Auger & Hansen 2014); "vkd", D (I + V V^T) D with
    up to 16 vectors as they prove useful, and two-point step-size adaptation (Akimoto & Hansen 2016). The others adapt
    their step size by the length of their path.

    pycma sees the ranks of members of which equals share theirs, so that no scale of fitness matters. It computes in
    float64, members are rounded to float32. Between generations all it has learned lies in the state as arrays, and it
    is built from them anew, so that a state is all that is needed to go on exactly; its random numbers come from the keys.

    Restarts are those of IPOP (Auger & Hansen 2005): from where the search began, with twice the population. As the
    number of members per generation is fixed, an iteration of restart r takes 2^r generations. The search restarts after
    `patience` iterations whose median fitness was not better than the best one, and when the distribution degenerates.

    :param sigma0: standard deviation of the first members around the initial network
    :param restarts: how often at most
    """

    on_host: ClassVar[bool] = True

    population_size: int
    variant: str = "full"
    sigma0: float = 0.3
    restarts: int = 0
    patience: int = 50

    def __post_init__(self) -> None:
        check_population_size(self.population_size, False)
        choose("variant", self.variant, VARIANTS)
        if not 0 < self.sigma0 < np.inf:
            raise ValueError(f"sigma0={self.sigma0} must be positive.")
        if not 0 <= self.restarts <= 8:
            raise ValueError(f"restarts={self.restarts} must lie in [0, 8]: each doubles the population.")
        if self.patience < 1:
            raise ValueError(f"patience={self.patience} must be at least 1.")

    def init(self, key: jax.Array, params_like: Params) -> CMAState:
        """`params_like`: the starting point, such as `network.init(key)`."""
        blank: Any = None
        zero = np.int32(0)
        fitness = np.full((2**self.restarts, self.population_size), np.nan, np.float32)
        return self._begin(CMAState(params_like, blank, blank, blank, blank, zero, zero, fitness, blank, blank), key)

    def sample(self, state: CMAState, key: jax.Array, members: jax.Array) -> Params:
        """Parameters of these members, each leaf with a leading axis of len(members). The key is not used."""
        del key
        return jax.vmap(ravel_pytree(state.origin)[1])(state.population[members])

    def update(self, state: CMAState, key: jax.Array, fitness: jax.Array) -> tuple[CMAState, Metrics]:
        """Not to be traced by JAX."""
        part, parts = int(state.part), 2 ** int(state.restart)
        told = np.array(state.fitness)
        told[part] = fitness
        state = state._replace(fitness=told, part=np.int32(part + 1))
        search = self._restore(state)
        members = search.ask()
        if part + 1 < parts:
            return state._replace(population=self._rows(members, part + 1)), self._metrics(search, state)
        scores = told[:parts].ravel()
        search.tell(members, (-np.asarray(doubled_centred_ranks(jnp.asarray(scores)))).tolist())
        median = np.float32(np.median(np.where(np.isfinite(scores), scores, -np.inf)))
        if median > state.best:
            state = state._replace(best=median, since=np.int32(0))
        else:
            state = state._replace(since=np.int32(state.since + 1))
        metrics = self._metrics(search, state)
        if int(state.restart) < self.restarts and (state.since >= self.patience or degenerate(search)):
            return self._begin(state._replace(restart=np.int32(state.restart + 1)), key), metrics
        return self._ask(state, search, key), metrics

    def mean(self, state: CMAState) -> Params:
        """The mean of the search distribution."""
        return ravel_pytree(state.origin)[1](state.mean)

    @property
    def _variant(self) -> Variant:
        return VARIANTS[self.variant]

    def _begin(self, state: CMAState, key: jax.Array) -> CMAState:
        """Start at the origin."""
        search = self._make(state, [*_words_of(key), 1])
        return self._ask(state._replace(best=np.float32(-np.inf), since=np.int32(0)), search, key)

    def _ask(self, state: CMAState, search: Any, key: jax.Array) -> CMAState:
        """Keep what was learned and draw the next members."""
        settle(search)
        seed = _words_of(key)
        learned = {name: x.view(np.uint32) for name, x in read(self._variant, search).items()}
        state = state._replace(search=learned, mean=np.float32(search.mean), seed=seed, part=np.int32(0))
        search.opts["randn"].seed(seed)
        return state._replace(population=self._rows(search.ask(), 0))

    def _restore(self, state: CMAState) -> Any:
        """pycma as it was when it was about to draw the members of this iteration."""
        search = self._make(state, 0)
        write(self._variant, search, {name: np.array(x).view(np.float64) for name, x in state.search.items()})
        search.opts["randn"].seed(np.asarray(state.seed))
        return search

    def _make(self, state: CMAState, seed: Any) -> Any:
        start = np.asarray(ravel_pytree(state.origin)[0], np.float64)
        return make(self._variant, start, self.sigma0, self.population_size * 2 ** int(state.restart), _Draws(seed))

    def _rows(self, members: list[np.ndarray], part: int) -> np.ndarray:
        """The members of one generation of an iteration."""
        first = part * self.population_size
        return np.array(members[first : first + self.population_size], np.float32)

    def _metrics(self, search: Any, state: CMAState) -> Metrics:
        """Standard deviations of single parameters, and restarts."""
        deviations = search.stds
        return {
            "std_mean": deviations.mean(),
            "std_min": deviations.min(),
            "std_max": deviations.max(),
            "param_norm": np.linalg.norm(search.mean),
            "restart": np.int32(state.restart),
        }


class _Draws:
    """Normal draws of a shape, which can be seeded anew."""

    def __init__(self, seed: Any) -> None:
        self.seed(seed)

    def seed(self, seed: Any) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, *shape: int) -> np.ndarray:
        return self._rng.standard_normal(shape)


def _words_of(key: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(key)).ravel()
