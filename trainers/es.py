"""Evolution strategy: `ES("LSTMPolicy", "BraxHumanoid-v0").learn(...)` or `python -m trainers.es --env Humanoid`."""

from typing import Any

import jax

from policies.population.types import PopulationNetwork
from trainers.evolution import EvolutionAlgorithm
from trainers.schedules import make_generation_schedule
from trainers.strategies import EvolutionStrategy
from trainers.strategies.evosax import EvosaxStrategy


class ES(EvolutionAlgorithm):
    """OpenAI-ES (arXiv 1703.03864): evolves real-valued weights by Gaussian perturbations; or any strategy of evosax.

    See `EvolutionStrategy` for the equations and `EvolutionAlgorithm` for the loop and its arguments. With a `strategy` of
    evosax (see `EvosaxStrategy`), of the arguments below only `population_size`, `strategy_kwargs` and `sigma` count: the
    value that sigma starts with is the standard deviation that the strategy starts with. The others are of OpenAI-ES alone,
    since the strategy has ways of its own; its options, a learning rate among them, are given in `strategy_kwargs`.

    :param population_size: members per generation, even when antithetic
    :param learning_rate: step size of the optimiser, a number or a schedule such as "lin_0.01" or "exp_0.2_0.995_0.001"
    :param sigma: standard deviation of the perturbations, a number or a schedule
    :param antithetic: draw members in opposite pairs
    :param weight_decay: decoupled weight decay
    :param optimizer: any optax optimiser by name, with `optimizer_kwargs`
    :param ranks: how fitness becomes weights, "centred" ranks or "standardized" ones
    :param l2: penalty on the mean square of a member's parameters, taken off its fitness
    :param precision: of the parameters that members and the deployed network have, "float32" or "float16"
    :param strategy: "ES", or a name in `evosax.algorithms.algorithms`, such as "SNES" (extra `evosax`)
    :param strategy_kwargs: options of evosax's strategy, such as {"lr_std_init": 0.1}
    """

    def __init__(
        self,
        policy: Any = "DenseSNNPolicy",
        env: Any = None,
        population_size: int = 1024,
        learning_rate: float | str = 0.01,
        sigma: float | str = 0.02,
        antithetic: bool = True,
        weight_decay: float = 0.1,
        optimizer: str = "adam",
        optimizer_kwargs: dict[str, Any] | None = None,
        ranks: str = "centred",
        l2: float = 0.0,
        precision: str = "float32",
        strategy: str = "ES",
        strategy_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        first_sigma = make_generation_schedule(sigma, "sigma")(1.0, 0)
        if first_sigma <= 0:
            raise ValueError(f"sigma={sigma} must be positive.")
        self.given = {
            "population_size": population_size,
            "learning_rate": learning_rate,
            "sigma": sigma,
            "antithetic": antithetic,
            "weight_decay": weight_decay,
            "optimizer": optimizer,
            "optimizer_kwargs": optimizer_kwargs or {},
            "ranks": ranks,
            "l2": l2,
            "precision": precision,
            "strategy": strategy,
            "strategy_kwargs": strategy_kwargs or {},
        }
        if strategy != "ES":
            other = EvosaxStrategy(strategy, population_size, first_sigma, strategy_kwargs or {})
            super().__init__(policy, env, other, None, **kwargs)
            return
        if strategy_kwargs:
            raise ValueError(f"strategy_kwargs={strategy_kwargs} are options of evosax's strategies; 'ES' has none of them.")
        own = EvolutionStrategy(
            population_size, antithetic, weight_decay, optimizer, optimizer_kwargs or {}, ranks, l2, precision
        )
        super().__init__(policy, env, own, learning_rate, sigma=sigma, **kwargs)

    def params_like(self, network: PopulationNetwork, key: jax.Array) -> Any:
        if network.one_bit:
            raise ValueError(
                f"ES needs real-valued weights; {self.policy.network_name} has boolean ones. Use EC, or DenseSNNPolicy."
            )
        return network.init(key)

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | self.given


if __name__ == "__main__":
    from trainers.cli import main

    main("es")
