"""Populations of networks in JAX: parameters and state are pytrees, functions are pure, `vmap` makes the population."""

import difflib
import inspect
from functools import partial
from typing import Any

from policies.population.bounds import Bounded
from policies.population.conv import FEATURES, Convolutional
from policies.population.dense import DenseSNN
from policies.population.hebbian import Hebbian
from policies.population.mlp import MLP
from policies.population.point import Bits, Point
from policies.population.recurrent import GRU, LSTM
from policies.population.rsnn import RSNN
from policies.population.types import PopulationNetwork

NETWORKS: dict[str, Any] = {
    "RSNNPolicy": RSNN,
    "DenseSNNPolicy": DenseSNN,
    "GRUPolicy": GRU,
    "LSTMPolicy": LSTM,
    "MlpPolicy": MLP,
    "HebbianPolicy": Hebbian,
    "CnnPolicy": partial(MLP, hidden_sizes=(128, 64), bias=False),  # the size of HebbianCnnPolicy
    "HebbianCnnPolicy": Hebbian,
    "PointPolicy": Point,
    "BitsPolicy": Bits,
}

ON_IMAGES = {"CnnPolicy": "MlpPolicy", "HebbianCnnPolicy": "HebbianPolicy"}
"""Networks that stand behind convolutions, and their names when they take vectors."""


def find_network(name: str) -> str:
    """The full policy name of `name`, such as "RSNNPolicy" for "rsnn"; ValueError with the nearest when unknown."""
    known = {key.lower(): key for key in NETWORKS}
    for candidate in (name.lower(), name.lower() + "policy"):
        if candidate in known:
            return known[candidate]
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.0)[0]
    raise ValueError(f"Unknown policy '{name}'. Did you mean '{known[near]}'? Known: {', '.join(NETWORKS)}.")


def make_network(
    name: str, observation: int | tuple[int, int, int], action_size: int, action_bounds: str = "clip", **kwargs: Any
) -> PopulationNetwork:
    """Build a network by policy name; ValueError names the nearest option when a keyword is unknown.

    :param observation: size of a vector, or shape (H, W, C) of an image
    :param action_size: number of outputs
    :param action_bounds: "clip" (outputs are clipped to [-1, 1]), or one of `bounds.BOUNDS`
    :param kwargs: options of the network
    """
    name = find_network(name)
    cls = NETWORKS[name]
    options = [*list(inspect.signature(cls).parameters)[2:], "action_bounds"]
    for key in kwargs:
        if key not in options:
            near = difflib.get_close_matches(key, options, n=1, cutoff=0.0)[0]
            raise ValueError(f"{name} has no option '{key}'. Did you mean '{near}'? Options: {', '.join(options)}.")
    network: PopulationNetwork
    if isinstance(observation, int):
        if name in ON_IMAGES:
            raise ValueError(f"{name} takes images, but the environment gives vectors; use {ON_IMAGES[name]}.")
        network = cls(observation, action_size, **kwargs)
    else:
        if name not in ON_IMAGES:
            behind = [other for other, plain in ON_IMAGES.items() if plain == name] or ON_IMAGES
            raise ValueError(f"{name} takes vectors, but the environment gives images; use {' or '.join(behind)}.")
        network = Convolutional(observation, cls(FEATURES, action_size, **kwargs))
    return network if action_bounds == "clip" else Bounded(network, action_bounds)


__all__ = [
    "GRU", "LSTM", "MLP", "NETWORKS", "ON_IMAGES", "RSNN", "Bits", "Convolutional", "DenseSNN", "Hebbian", "Point",
    "PopulationNetwork", "find_network", "make_network",
]  # fmt: skip
