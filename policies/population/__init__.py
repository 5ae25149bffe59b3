"""Populations of networks in JAX: parameters and state are pytrees, functions are pure, `vmap` makes the population."""

import dataclasses
import difflib
from typing import Any

from policies.population.dense import DenseSNN
from policies.population.mlp import MLP
from policies.population.recurrent import GRU, LSTM
from policies.population.rsnn import RSNN
from policies.population.types import PopulationNetwork

NETWORKS: dict[str, Any] = {
    "RSNNPolicy": RSNN,
    "DenseSNNPolicy": DenseSNN,
    "GRUPolicy": GRU,
    "LSTMPolicy": LSTM,
    "MlpPolicy": MLP,
}


def find_network(name: str) -> str:
    """The full policy name of `name`, such as "RSNNPolicy" for "rsnn"; ValueError with the nearest when unknown."""
    known = {key.lower(): key for key in NETWORKS}
    for candidate in (name.lower(), name.lower() + "policy"):
        if candidate in known:
            return known[candidate]
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.0)[0]
    raise ValueError(f"Unknown policy '{name}'. Did you mean '{known[near]}'? Known: {', '.join(NETWORKS)}.")


def make_network(name: str, observation_size: int, action_size: int, **kwargs: Any) -> PopulationNetwork:
    """Build a network by policy name; ValueError names the nearest option when a keyword is unknown."""
    cls = NETWORKS[find_network(name)]
    options = [f.name for f in dataclasses.fields(cls)][2:]
    for key in kwargs:
        if key not in options:
            near = difflib.get_close_matches(key, options, n=1, cutoff=0.0)[0]
            raise ValueError(f"{name} has no option '{key}'. Did you mean '{near}'? Options: {', '.join(options)}.")
    return cls(observation_size, action_size, **kwargs)


__all__ = ["GRU", "LSTM", "MLP", "NETWORKS", "RSNN", "DenseSNN", "PopulationNetwork", "find_network", "make_network"]
