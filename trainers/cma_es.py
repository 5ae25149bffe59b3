"""CMA-ES: `CMAES("MlpPolicy", "Pendulum-v1").learn(...)` or `python -m trainers.cma_es --env Pendulum-v1`."""

import dataclasses
import math
from typing import Any

import jax

from policies.names import choose
from policies.population.types import PopulationNetwork
from trainers.evolution import EvolutionAlgorithm
from trainers.strategies.cma import CMA
from trainers.strategies.cma_memory import available_bytes, pick_variant
from trainers.strategies.cma_variants import VARIANTS


class CMAES(EvolutionAlgorithm):
    """CMA-ES by pycma: evolves all weights of a network, and learns how they should vary together.

    See `CMA` for what it does and `EvolutionAlgorithm` for the loop and its arguments. Before it starts, it estimates the
    memory that its matrix and members need beside the rollouts: "auto" takes the richest variant that fits half of what is
    available (and says which, and why), and a given variant that does not fit is refused.

    :param population_size: members per generation; 0 for pycma's own, 4 + 3 ln(number of parameters)
    :param variant: what the covariance matrix may be: "full", "vd", "vkd", "sep" or "auto"
    :param sigma0: standard deviation of the first members around the initial network
    :param restarts: how often, at most, the search starts again with twice the population, of which an iteration then
        takes twice as many generations
    :param patience: iterations without a better median fitness after which it does
    """

    strategy: CMA

    def __init__(
        self,
        policy: Any = "MlpPolicy",
        env: Any = None,
        population_size: int = 0,
        variant: str = "auto",
        sigma0: float = 0.3,
        restarts: int = 0,
        patience: int = 50,
        **kwargs: Any,
    ) -> None:
        choose("variant", variant, dict.fromkeys(["auto", *VARIANTS]))
        self.given = (population_size, variant)
        strategy = CMA(population_size or 2, "sep" if variant == "auto" else variant, sigma0, restarts, patience)
        super().__init__(policy, env, strategy, None, **kwargs)

    def params_like(self, network: PopulationNetwork, key: jax.Array) -> Any:
        """The initial network, for whose size what was left open is chosen."""
        if network.one_bit:
            raise ValueError("CMA-ES needs real-valued weights; RSNNPolicy has boolean synapses. Use EC, or DenseSNNPolicy.")
        params = network.init(key)
        size = sum(x.size for x in jax.tree.leaves(params))
        population, variant = self.given
        population = population or 4 + int(3 * math.log(size))
        iteration = population * 2**self.strategy.restarts
        name, reason = pick_variant(variant, size, population, iteration, jax.local_device_count(), available_bytes())
        if variant == "auto":
            print(reason)
        self.strategy = dataclasses.replace(self.strategy, population_size=population, variant=name)
        return params

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | dataclasses.asdict(self.strategy)


if __name__ == "__main__":
    from trainers.cli import main

    main("cma_es")
