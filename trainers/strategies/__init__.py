"""Evolution strategies as pure functions of (state, key)."""

from trainers.strategies.dc import DCState, DistributionalCrossover
from trainers.strategies.ec import ECState, EvolvingConnectivity
from trainers.strategies.es import ESState, EvolutionStrategy
from trainers.strategies.ranks import centred_ranks, doubled_centred_ranks, standardized_ranks
from trainers.strategies.satr import SATRState, SignalAwareTrustRegion
from trainers.strategies.types import Strategy

__all__ = [
    "DCState",
    "DistributionalCrossover",
    "ECState",
    "ESState",
    "EvolutionStrategy",
    "EvolvingConnectivity",
    "SATRState",
    "SignalAwareTrustRegion",
    "Strategy",
    "centred_ranks",
    "doubled_centred_ranks",
    "standardized_ranks",
]
