"""Evolving Connectivity: `EC("RSNNPolicy", "BraxHumanoid-v0").learn(...)` or `python -m trainers.ec --env Humanoid`."""

from typing import Any

import jax

from policies.population.types import PopulationNetwork
from trainers.evolution import EvolutionAlgorithm
from trainers.strategies import EvolvingConnectivity


class EC(EvolutionAlgorithm):
    """Evolving Connectivity (arXiv 2305.17650): evolves which one-bit synapses of a spiking network exist.

    See `EvolvingConnectivity` for the equations and `EvolutionAlgorithm` for the loop and its arguments.

    :param population_size: members per generation
    :param learning_rate: largest change of a connection probability in a generation (under Adam); number or "lin_0.15"
    :param eps: probabilities stay in [eps, 1 - eps]
    :param antithetic: draw members in opposite pairs
    :param weight_decay: pull of every probability towards 0, a cost on connections
    :param optimizer: any optax optimiser by name, with `optimizer_kwargs`
    """

    def __init__(
        self,
        policy: Any = "RSNNPolicy",
        env: Any = None,
        population_size: int = 1024,
        learning_rate: float | str = 0.15,
        eps: float = 1e-3,
        antithetic: bool = False,
        weight_decay: float = 0.0,
        optimizer: str = "adam",
        optimizer_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        strategy = EvolvingConnectivity(population_size, eps, antithetic, weight_decay, optimizer, optimizer_kwargs or {})
        super().__init__(policy, env, strategy, learning_rate, **kwargs)

    def params_like(self, network: PopulationNetwork, key: jax.Array) -> Any:
        return boolean_kernels(self, network)

    def arguments(self) -> dict[str, Any]:
        s = self.strategy
        assert isinstance(s, EvolvingConnectivity)
        return super().arguments() | {
            "population_size": s.population_size,
            "eps": s.eps,
            "antithetic": s.antithetic,
            "weight_decay": s.weight_decay,
            "optimizer": s.optimizer,
            "optimizer_kwargs": dict(s.optimizer_kwargs),
        }


def boolean_kernels(model: EvolutionAlgorithm, network: PopulationNetwork) -> Any:
    """Shapes of the network's boolean kernels; ValueError when it has none."""
    if not network.one_bit:
        raise ValueError(
            f"{type(model).__name__} needs a network with boolean synapses; '{model.policy.network_name}' has none. Use "
            "RSNNPolicy, or ES for real-valued weights."
        )
    return network.kernels  # type: ignore[attr-defined]


if __name__ == "__main__":
    from trainers.cli import main

    main("ec")
