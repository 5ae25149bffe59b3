"""Any algorithm of evosax (Lange 2022, arXiv 2212.04180) as a strategy."""

import dataclasses
import functools
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from policies.names import choose, nearest
from trainers.strategies.optimizers import find_optimizer
from trainers.strategies.types import Metrics, Params, check_population_size

REFUSED = {
    "SV_CMA_ES": "it keeps several populations",
    "SV_Open_ES": "it keeps several populations",
    "LM_MA_ES": "its numbers become NaN even on a quadratic of six parameters",
    "PersistentES": "it learns from parts of episodes",
    "NoiseReuseES": "it learns from parts of episodes",
}
OWN = {"self", "population_size", "solution", "fitness_shaping_fn", "metrics_fn", "std_schedule", "sampling_fn", "optimizer"}


class EvosaxState(NamedTuple):
    """The initial network, this generation's members as displacements from it, and what the algorithm keeps."""

    origin: Params
    population: jax.Array
    inner: Any
    begun: jax.Array


@dataclass(frozen=True)
class EvosaxStrategy:
    """The algorithm of evosax of that name, over the flattened parameters of any network of floats.

    evosax minimises, so it is told the fitness negated; members whose fitness is not finite are told as the worst of the
    others. The search starts at the initial network. An algorithm that keeps a population starts with members around it,
    the first of which it is; what is deployed is then the best of the population, and the mean of the distribution
    otherwise.

    `sigma` is the standard deviation that the algorithm begins with (its `std_init` or `std_schedule`), and that of a first
    population. All else is the algorithm's own, as published by evosax, unless given in `options`: arguments of the
    algorithm's constructor, fields of its parameters, and "optimizer" (any of optax by name) with "learning_rate" where it
    has an optimiser.

    Refused, with the reason, are those that keep several populations (SV_CMA_ES, SV_Open_ES), those that learn from parts
    of episodes (PersistentES, NoiseReuseES), and LM_MA_ES, which in evosax 0.3.2 becomes NaN.
    """

    name: str
    population_size: int
    sigma: float = 0.1
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_population_size(self.population_size, False)
        if not 0 < self.sigma < float("inf"):
            raise ValueError(f"sigma={self.sigma} must be positive.")
        choose("strategy", self.name, _evosax().algorithms)
        if self.name in REFUSED:
            raise ValueError(f"evosax's {self.name} does not evolve networks here: {REFUSED[self.name]}.")

    def init(self, key: jax.Array, params_like: Params) -> EvosaxState:
        """`params_like`: the starting point, such as `network.init(key)`."""
        size = ravel_pytree(params_like)[0].size
        algorithm, params = self._algorithm(size)
        init_key, ask_key = jax.random.split(key)
        if self._keeps_population(algorithm):
            population = self.sigma * jax.random.normal(ask_key, (self.population_size, size))
            population = population.at[0].set(0.0)
            inner = algorithm.init(init_key, population, jnp.zeros(self.population_size), params)
        else:
            inner = algorithm.init(init_key, jnp.zeros(size), params)
            population, inner = algorithm.ask(ask_key, inner, params)
        return EvosaxState(params_like, population, inner, jnp.array(False))

    def sample(self, state: EvosaxState, key: jax.Array, members: jax.Array) -> Params:
        """Parameters of these members, each leaf with a leading axis of len(members). The key is not used."""
        del key
        return jax.vmap(functools.partial(_displaced, state.origin))(state.population[members])

    def update(self, state: EvosaxState, key: jax.Array, fitness: jax.Array) -> tuple[EvosaxState, Metrics]:
        algorithm, params = self._algorithm(state.population.shape[1])
        finite = jnp.isfinite(fitness)
        worst = jnp.min(jnp.where(finite, fitness, jnp.inf))
        cost = -jnp.where(finite, fitness, jnp.where(jnp.isfinite(worst), worst, 0.0))
        tell_key, ask_key = jax.random.split(key)
        inner, _ = algorithm.tell(tell_key, state.population, cost, state.inner, params)
        if self._keeps_population(algorithm):  # it begins with members that have been evaluated
            first = algorithm.init(tell_key, state.population, cost, params)
            inner = jax.tree.map(lambda new, old: jnp.where(state.begun, new, old), inner, first)
        population, inner = algorithm.ask(ask_key, inner, params)
        new = EvosaxState(state.origin, population, inner, jnp.array(True))
        norm = jnp.linalg.norm(ravel_pytree(self.mean(new))[0])
        return new, {"param_norm": norm, "std_population": jnp.mean(jnp.std(population, axis=0))}

    def mean(self, state: EvosaxState) -> Params:
        """The mean of the distribution, or the best of the population."""
        algorithm, _ = self._algorithm(state.population.shape[1])
        if self._keeps_population(algorithm):
            return _displaced(state.origin, algorithm.get_best_solution(state.inner))
        return _displaced(state.origin, algorithm.get_mean(state.inner))

    def _keeps_population(self, algorithm: Any) -> bool:
        return hasattr(algorithm, "get_best_solution")

    def _algorithm(self, size: int) -> tuple[Any, Any]:
        return _make(self.name, self.population_size, size, self.sigma, json.dumps(dict(self.options), sort_keys=True))


@functools.lru_cache(maxsize=32)
def _make(name: str, population_size: int, size: int, sigma: float, options_json: str) -> tuple[Any, Any]:
    """An algorithm of evosax over vectors of that size, and its parameters; made once, since JAX knows it by identity."""
    options = json.loads(options_json)
    cls = _evosax().algorithms[name]
    signature = inspect.signature(cls.__init__).parameters
    arguments: dict[str, Any] = {key: options.pop(key) for key in list(options) if key in set(signature) - OWN}
    if "std_schedule" in signature:
        arguments["std_schedule"] = optax.constant_schedule(sigma)
    if "sampling_fn" in signature:
        arguments["sampling_fn"] = lambda key: sigma * jax.random.normal(key, (size,))
    optimizer, learning_rate = options.pop("optimizer", None), options.pop("learning_rate", None)
    if (optimizer, learning_rate) != (None, None):
        if "optimizer" not in signature:
            raise ValueError(f"evosax's {name} has no optimizer; leave it and learning_rate out of strategy_kwargs.")
        if optimizer is None or learning_rate is None:
            raise ValueError(
                "optimizer and learning_rate go together in strategy_kwargs, as in optimizer:adam learning_rate:0.01."
            )
        arguments["optimizer"] = find_optimizer(optimizer)(learning_rate=learning_rate)
    with jax.ensure_compile_time_eval():
        try:
            algorithm = cls(population_size=population_size, solution=jnp.zeros(size), **arguments)
        except AssertionError as error:
            raise ValueError(f"evosax's {name} refuses {population_size} members of {size} parameters: {error}") from None
        params = algorithm.default_params
    scalars = [f.name for f in dataclasses.fields(params) if jnp.ndim(getattr(params, f.name)) == 0]
    if "std_init" in scalars:
        options = {"std_init": sigma} | options
    for key in options:
        if key not in scalars:
            known = sorted(set(scalars) | set(signature) - OWN | ({"optimizer", "learning_rate"} & set(signature)))
            raise ValueError(f"evosax's {name} has no option '{key}'. {nearest(key, known) if known else 'It has none.'}")
    return algorithm, dataclasses.replace(params, **options)


def _displaced(origin: Params, displacement: jax.Array) -> Params:
    flat, unravel = ravel_pytree(origin)
    return unravel(flat + displacement)


def _evosax() -> ModuleType:
    try:
        from evosax import algorithms
    except ImportError as error:
        raise ValueError("Strategies other than 'ES' need evosax: pip install 'spikegym[evosax]'.") from error
    return algorithms
