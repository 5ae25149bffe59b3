"""Evolution strategy: `ES("LSTMPolicy", "BraxHumanoid-v0").learn(...)` or `python -m trainers.es --env Humanoid`."""

from typing import Any

import jax

from policies.population.types import PopulationNetwork
from trainers.evolution import EvolutionAlgorithm
from trainers.schedules import make_generation_schedule
from trainers.strategies import EvolutionStrategy


class ES(EvolutionAlgorithm):
    """OpenAI-ES (arXiv 1703.03864): evolves real-valued weights by Gaussian perturbations.

    See `EvolutionStrategy` for the equations and `EvolutionAlgorithm` for the loop and its arguments.

    :param population_size: members per generation, even when antithetic
    :param learning_rate: step size of the optimiser, a number or a schedule such as "lin_0.01" or "exp_0.2_0.995_0.001"
    :param sigma: standard deviation of the perturbations, a number or a schedule
    :param antithetic: draw members in opposite pairs
    :param weight_decay: decoupled weight decay
    :param optimizer: any optax optimiser by name, with `optimizer_kwargs`
    :param ranks: how fitness becomes weights, "centred" ranks or "standardized" ones
    :param l2: penalty on the mean square of a member's parameters, taken off its fitness
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
        **kwargs: Any,
    ) -> None:
        if make_generation_schedule(sigma, "sigma")(1.0, 0) <= 0:
            raise ValueError(f"sigma={sigma} must be positive.")
        strategy = EvolutionStrategy(population_size, antithetic, weight_decay, optimizer, optimizer_kwargs or {}, ranks, l2)
        super().__init__(policy, env, strategy, learning_rate, sigma=sigma, **kwargs)

    def params_like(self, network: PopulationNetwork, key: jax.Array) -> Any:
        if network.one_bit:
            raise ValueError(
                f"ES needs real-valued weights; {self.policy.network_name} has boolean ones. Use EC, or DenseSNNPolicy."
            )
        return network.init(key)

    def arguments(self) -> dict[str, Any]:
        s = self.strategy
        assert isinstance(s, EvolutionStrategy)
        return super().arguments() | {
            "population_size": s.population_size,
            "sigma": self.sigma,
            "antithetic": s.antithetic,
            "weight_decay": s.weight_decay,
            "optimizer": s.optimizer,
            "optimizer_kwargs": dict(s.optimizer_kwargs),
            "ranks": s.ranks,
            "l2": s.l2,
        }


if __name__ == "__main__":
    from trainers.cli import main

    main("es")
