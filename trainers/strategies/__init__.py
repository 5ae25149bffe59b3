"""Evolution strategies as pure functions of (state, key)."""

from trainers.strategies.ec import ECState, EvolvingConnectivity
from trainers.strategies.es import ESState, EvolutionStrategy
from trainers.strategies.ranks import centred_ranks, doubled_centred_ranks, standardized_ranks
from trainers.strategies.types import Strategy

__all__ = [
    "ECState",
    "ESState",
    "EvolutionStrategy",
    "EvolvingConnectivity",
    "Strategy",
    "centred_ranks",
    "doubled_centred_ranks",
    "standardized_ranks",
]
