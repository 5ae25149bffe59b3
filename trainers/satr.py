"""EC in a trust region: `SATR("RSNNPolicy", "BraxHopper-v0").learn(...)` or `python -m trainers.satr --env Hopper`."""

from typing import Any

from trainers.ec import ConnectivityAlgorithm
from trainers.strategies import SignalAwareTrustRegion


class SATR(ConnectivityAlgorithm):
    """Evolving Connectivity with steps bounded in relative entropy by the signal in them (idea: arXiv 2601.21572).

    See `SignalAwareTrustRegion` for the derivation and `EvolutionAlgorithm` for the loop and its arguments.

    :param population_size: members per generation
    :param learning_rate: of the optimiser that proposes the step, number or "lin_100"; the trust region cuts it back
    :param eps: probabilities stay in [eps, 1 - eps]
    :param antithetic: draw members in opposite pairs
    :param weight_decay: pull of every probability towards 0, a cost on connections
    :param optimizer: any optax optimiser by name, with `optimizer_kwargs`
    :param kl_max: largest relative entropy of a synapse's update, nats
    :param signal_decay: of the running mean by which the signal is estimated
    """

    def __init__(
        self,
        policy: Any = "RSNNPolicy",
        env: Any = None,
        population_size: int = 256,
        learning_rate: float | str = 100.0,
        eps: float = 1e-3,
        antithetic: bool = False,
        weight_decay: float = 0.0,
        optimizer: str = "sgd",
        optimizer_kwargs: dict[str, Any] | None = None,
        kl_max: float = 0.03,
        signal_decay: float = 0.9,
        **kwargs: Any,
    ) -> None:
        strategy = SignalAwareTrustRegion(
            population_size, eps, antithetic, weight_decay, optimizer, optimizer_kwargs or {}, 0.5, kl_max, signal_decay
        )
        super().__init__(policy, env, strategy, learning_rate, **kwargs)


if __name__ == "__main__":
    from trainers.cli import main

    main("satr")
