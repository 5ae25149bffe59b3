"""EC in a trust region: `SATR("RSNNPolicy", "BraxHopper-v0").learn(...)` or `python -m trainers.satr --env Hopper`."""

from typing import Any

from trainers.ec import ConnectivityAlgorithm
from trainers.strategies import SignalAwareTrustRegion


class SATR(ConnectivityAlgorithm):
    """Evolving Connectivity with steps bounded in relative entropy by the signal in them (idea: arXiv 2601.21572).

    See `SignalAwareTrustRegion` for the derivation and `EvolutionAlgorithm` for the loop and its arguments.

    :param population_size: members per generation
    :param eps: probabilities stay in [eps, 1 - eps]
    :param antithetic: draw members in opposite pairs
    :param kl_max: largest relative entropy of an update, nats for each synapse
    :param kl_min: what `kl_max` falls to where members become neither better nor worse
    :param min_change: standard deviations by which members' fitness has to change in a generation for no fall
    :param signal_decay: of the mean over generations by which a synapse's signal is estimated
    """

    def __init__(
        self,
        policy: Any = "RSNNPolicy",
        env: Any = None,
        population_size: int = 256,
        eps: float = 1e-3,
        antithetic: bool = False,
        kl_max: float = 0.045,
        kl_min: float = 1e-4,
        min_change: float = 1.2,
        signal_decay: float = 0.9,
        **kwargs: Any,
    ) -> None:
        strategy = SignalAwareTrustRegion(population_size, eps, antithetic, 0.5, kl_max, kl_min, min_change, signal_decay)
        super().__init__(policy, env, strategy, None, **kwargs)


if __name__ == "__main__":
    from trainers.cli import main

    main("satr")
