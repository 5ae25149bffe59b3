"""Distributional Crossover: `DC("RSNNPolicy", "BraxHopper-v0").learn(...)` or `python -m trainers.dc --env Hopper`."""

from typing import Any

from trainers.ec import ConnectivityAlgorithm
from trainers.strategies import DistributionalCrossover


class DC(ConnectivityAlgorithm):
    """Several distributions over boolean synapses, each of which does EC, with crossover and selection between them.

    See `DistributionalCrossover` for the method and `EvolutionAlgorithm` for the loop and its arguments.

    :param population_size: members per generation of all distributions together, a multiple of `num_distributions`
    :param learning_rate: largest change of a connection probability in a generation (under Adam); number or "lin_0.15"
    :param eps: probabilities stay in [eps, 1 - eps]
    :param antithetic: draw members in opposite pairs
    :param weight_decay: pull of every probability towards 0, a cost on connections
    :param optimizer: any optax optimiser by name, with `optimizer_kwargs`
    :param num_distributions: how many distributions
    :param crossover: "arithmetic", "mean", "random_pick", "logits" or "samples"
    :param crossover_every: every so many generations distributions are crossed; 0 for never
    :param crossover_only: cross in every generation, and make no local step
    :param offspring_ratio: children for each distribution
    :param mutation: standard deviation of the noise on a child's probabilities
    :param selection: what candidates are judged by, "sampled" masks or the "deployed" one
    :param mix_moments: children start with the mean of their parents' optimisers, instead of afresh
    :param jitter: standard deviation of the first probabilities around one half
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
        num_distributions: int = 4,
        crossover: str = "random_pick",
        crossover_every: int = 10,
        crossover_only: bool = False,
        offspring_ratio: float = 2.0,
        mutation: float = 0.01,
        selection: str = "sampled",
        mix_moments: bool = False,
        jitter: float = 0.0,
        **kwargs: Any,
    ) -> None:
        strategy = DistributionalCrossover(
            population_size,
            num_distributions,
            eps,
            antithetic,
            weight_decay,
            optimizer,
            optimizer_kwargs or {},
            crossover=crossover,
            crossover_every=crossover_every,
            crossover_only=crossover_only,
            offspring_ratio=offspring_ratio,
            mutation=mutation,
            selection=selection,
            mix_moments=mix_moments,
            jitter=jitter,
        )
        super().__init__(policy, env, strategy, learning_rate, **kwargs)


if __name__ == "__main__":
    from trainers.cli import main

    main("dc")
