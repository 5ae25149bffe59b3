"""Evolving Connectivity: `EC("RSNNPolicy", "BraxHumanoid-v0").learn(...)` or `python -m trainers.ec --env Humanoid`."""

import dataclasses
from typing import Any

import jax

from policies.population.types import PopulationNetwork
from trainers.evolution import EvolutionAlgorithm
from trainers.strategies import EvolvingConnectivity


class ConnectivityAlgorithm(EvolutionAlgorithm):
    """What the algorithms over boolean synapses share; the fields of their strategies are arguments of their own."""

    def params_like(self, network: PopulationNetwork, key: jax.Array) -> Any:
        """Shapes of the network's boolean kernels; ValueError when it has none."""
        if not network.one_bit:
            raise ValueError(
                f"{type(self).__name__} needs a network with boolean synapses; '{self.policy.network_name}' has none. Use "
                "RSNNPolicy, or ES for real-valued weights."
            )
        return network.kernels  # type: ignore[attr-defined]

    def arguments(self) -> dict[str, Any]:
        fields: dict[str, Any] = dataclasses.asdict(self.strategy)  # type: ignore[call-overload]
        del fields["initial_rho"]  # always one half
        return super().arguments() | fields


class EC(ConnectivityAlgorithm):
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


if __name__ == "__main__":
    from trainers.cli import main

    main("ec")
