"""Evolved networks as policies of Stable-Baselines3, and back: to play, export or fine-tune by gradients what was evolved.

    evolved = ES.load("runs/es/CartPole-v1_1/best_model.zip")
    policy = to_torch(evolved)                        # acts as the evolved network does
    model = to_model(evolved, "CartPole-v1")          # the same, inside RecurrentPPO or PPO, ready to learn on
    params = to_population(model.policy, evolved)     # what it learned, as parameters of the population network

Bridged are HebbianPolicy and HebbianCnnPolicy (RecurrentPPO's policies of these names), LSTMPolicy (RecurrentPPO's
MlpLstmPolicy), MlpPolicy and CnnPolicy (PPO's MlpPolicy). Observation statistics go with them (`NormalizingExtractor`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.ppo_recurrent.policies import MlpLstmPolicy
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from stable_baselines3.common.vec_env import VecTransposeImage

from policies.population import LSTM, MLP, Convolutional, Hebbian
from policies.population.bounds import Bounded
from policies.sb3.features import NormalizingExtractor, TanhCnn
from policies.sb3.hebbian import NET_ARGUMENTS, HebbianRecurrentCnnPolicy, HebbianRecurrentPolicy

Path = tuple[Any, ...]


@dataclass(frozen=True)
class Link:
    """One array of a population network's parameters and where it lies in a torch policy.

    :param names: parameters of the policy whose sum it is; the first gets its value and the others 0
    :param path: keys into the pytree; None for a bias that the network has not, which is 0
    :param axes: the policy's parameter has the array's axes in this order
    :param gain: the policy's parameter is `gain` times the array plus `offset`
    """

    names: tuple[str, ...]
    path: Path | None
    axes: tuple[int, ...] | None = None
    gain: Any = 1.0
    offset: Any = 0.0

    def to_torch(self, params: Any) -> np.ndarray:
        x = np.zeros(1) if self.path is None else np.asarray(_at(params, self.path))
        x = x if self.axes is None else x.transpose(self.axes)
        return np.asarray(self.gain * x + self.offset, np.float32)

    def to_population(self, tensors: Mapping[str, torch.Tensor]) -> np.ndarray:
        x = (sum(tensors[name].detach().cpu().numpy() for name in self.names) - self.offset) / self.gain
        return np.asarray(x if self.axes is None else x.transpose(np.argsort(self.axes)), np.float32)


@dataclass(frozen=True)
class Bridge:
    """What stands on the other side of one kind of network: an algorithm, its policy, arguments, and the links."""

    algorithm: type[Any]
    policy: type[BasePolicy]
    kwargs: dict[str, Any]
    links: list[Link]
    options: dict[str, Any] = field(default_factory=dict)  # what must agree though no shape shows it


def to_torch(evolved: Any) -> Any:
    """A new policy of Stable-Baselines3 that acts as `evolved` does, but for rounding, given the same weights to start with.

    :param evolved: a model of `trainers`, or its policy: anything with `network`, `params`, `moments` (`mean` and `std`)
        and the two spaces
    """
    evolved = getattr(evolved, "policy", evolved)
    bridge = _bridge(evolved)
    observations = evolved.observation_space
    if bridge.kwargs["features_extractor_class"] is TanhCnn:
        observations = VecTransposeImage.transpose_space(observations)
    policy = bridge.policy(observations, evolved.action_space, lambda _: 0.0, **bridge.kwargs)
    copy_into(policy, evolved)
    policy.set_training_mode(False)
    return policy


def to_model(evolved: Any, env: Any, policy_kwargs: dict[str, Any] | None = None, **arguments: Any) -> Any:
    """A model of RecurrentPPO or PPO that starts from `evolved`, with a critic and a noise that it has yet to learn.

    :param policy_kwargs: further arguments of the policy, such as `log_std_init` or `net_arch` of the critic
    :param arguments: of the algorithm
    """
    bridge = _bridge(getattr(evolved, "policy", evolved))
    model = bridge.algorithm(bridge.policy, env, policy_kwargs=bridge.kwargs | (policy_kwargs or {}), **arguments)
    copy_into(model.policy, evolved)
    return model


def policy_kwargs(evolved: Any) -> dict[str, Any]:
    """Arguments that give a policy of Stable-Baselines3 the architecture of `evolved`."""
    return _bridge(getattr(evolved, "policy", evolved)).kwargs


@torch.no_grad()
def copy_into(policy: Any, evolved: Any) -> None:
    """Overwrite the acting network of a policy by `evolved`; ValueError when it is of another architecture."""
    evolved = getattr(evolved, "policy", evolved)
    bridge = _bridge(evolved)
    _check_options(policy, bridge)
    tensors = _tensors(policy)
    values = {name: link.to_torch(evolved.params) for link in bridge.links for name in link.names[:1]}
    if len(evolved.moments.mean):
        values |= {f"features_extractor.{name}": getattr(evolved.moments, name) for name in ("mean", "std")}
    for name, value in values.items():
        _check_shape(tensors, name, value.shape)
    for link in bridge.links:
        for name in link.names[1:]:
            tensors[name].zero_()
    for name, value in values.items():
        tensors[name].copy_(torch.tensor(value))


def to_population(policy: Any, evolved: Any) -> Any:
    """Parameters for the network of `evolved`, as a pytree of NumPy arrays, from a policy that it was bridged to.

    ValueError when the policy is of another architecture, or has learned biases that the network has no place for.
    """
    evolved = getattr(evolved, "policy", evolved)
    bridge = _bridge(evolved)
    _check_options(policy, bridge)
    tensors = _tensors(policy)
    found: dict[Path, np.ndarray] = {}
    for link in bridge.links:
        like = link.to_torch(evolved.params)
        for name in link.names:
            _check_shape(tensors, name, like.shape)
        value = link.to_population(tensors)
        if link.path is not None:
            found[link.path] = value
        elif np.abs(value).max() > 1e-6:
            raise ValueError(f"The policy has learned biases '{link.names[0]}', but the evolved network has none.")
    leaves, structure = jax.tree_util.tree_flatten_with_path(evolved.params)
    return jax.tree.unflatten(structure, [found[tuple(_key(k) for k in path)] for path, _ in leaves])


def _bridge(evolved: Any) -> Bridge:
    """The bridge for a network's class."""
    network: Any = evolved.network
    bounds = "clip"
    extractor: type[BaseFeaturesExtractor] = FlattenExtractor
    if isinstance(network, Bounded):
        network, bounds = network.network, network.action_bounds
    prefix: Path = ()
    links: list[Link] = []
    if isinstance(network, Convolutional):
        network, prefix, extractor = network.head, ("head",), TanhCnn
        names = [f"features_extractor.convolutions.{i}.weight" for i in (0, 3)]
        links = [Link((name,), ("kernels", i), (3, 2, 0, 1)) for i, name in enumerate(names)]
    elif len(evolved.moments.mean):
        extractor = NormalizingExtractor
    kind = type(network)
    if kind not in BRIDGES:
        others = ", ".join(known.__name__ for known in BRIDGES)
        raise ValueError(f"A network of class {kind.__name__} has no counterpart in Stable-Baselines3; {others} have.")
    if bounds != "clip" and kind is not Hebbian:
        raise ValueError(f"action_bounds='{bounds}' has no counterpart in Stable-Baselines3's policies; only Hebbian has it.")
    for space in (evolved.observation_space, evolved.action_space):
        if isinstance(space, spaces.Discrete) and space.start != 0:
            raise ValueError(f"Stable-Baselines3 takes discrete spaces that start at 0, not {space}.")
    params = _at(evolved.params, prefix)
    bridge = BRIDGES[kind](network, params, evolved.action_space, prefix)
    kwargs = bridge.kwargs | {"features_extractor_class": extractor}
    policy = bridge.policy
    if kind is Hebbian:
        kwargs |= {"action_bounds": bounds}
        policy = HebbianRecurrentCnnPolicy if extractor is TanhCnn else policy
    return Bridge(bridge.algorithm, policy, kwargs, [*links, *bridge.links], bridge.options)


def _hebbian(network: Any, params: Any, action_space: spaces.Space[Any], prefix: Path) -> Bridge:
    links = [
        Link((f"lstm_actor.net.layers.{i}.{name}",), (*prefix, i, name)) for i, layer in enumerate(params) for name in layer
    ]
    kwargs = {name: getattr(network, name) for name in NET_ARGUMENTS}
    options = {name: kwargs[name] for name in ("hebb_rule", "init_weights", "normalize", "output")}
    return Bridge(RecurrentPPO, HebbianRecurrentPolicy, kwargs, links, options)


def _mlp(network: Any, params: Any, action_space: spaces.Space[Any], prefix: Path) -> Bridge:
    count = sum(name.startswith("w") for name in params)
    links = []
    for i in range(count):
        last = i == count - 1
        layer = "action_net" if last else f"mlp_extractor.policy_net.{2 * i}"
        bias = (*prefix, f"b{i}") if f"b{i}" in params else None
        links += _affine(layer, (*prefix, f"w{i}"), bias, action_space if last else None, params[f"w{i}"].shape[1])
    sizes = [params[f"w{i}"].shape[1] for i in range(count - 1)]
    return Bridge(PPO, ActorCriticPolicy, {"net_arch": {"pi": sizes, "vf": [64, 64]}}, links)


def _lstm(network: Any, params: Any, action_space: spaces.Space[Any], prefix: Path) -> Bridge:
    hidden, outputs = params["out"].shape
    links = [
        Link(("lstm_actor.weight_ih_l0",), ("x",), (1, 0)),
        Link(("lstm_actor.weight_hh_l0",), ("h",), (1, 0)),
        Link(("lstm_actor.bias_ih_l0", "lstm_actor.bias_hh_l0"), ("b",)),
        *_affine("action_net", ("out",), ("out_b",), action_space, outputs),
    ]
    net_arch = {"pi": [], "vf": [64, 64]}
    return Bridge(
        RecurrentPPO, MlpLstmPolicy, {"lstm_hidden_size": hidden, "enable_critic_lstm": False, "net_arch": net_arch}, links
    )


BRIDGES: dict[type[Any], Callable[[Any, Any, spaces.Space[Any], Path], Bridge]] = {
    Hebbian: _hebbian,
    MLP: _mlp,
    LSTM: _lstm,
}
"""By a network's class in `policies.population`."""


def _affine(layer: str, weight: Path, bias: Path | None, action_space: spaces.Space[Any] | None, outputs: int) -> list[Link]:
    """Links of an `nn.Linear`; of the one that gives actions, outputs from -1 to 1 span the Box, so the layer is scaled."""
    gain: Any = np.ones(outputs, np.float32)
    offset: Any = np.zeros(outputs, np.float32)
    if isinstance(action_space, spaces.Box):
        gain = 0.5 * (action_space.high - action_space.low)
        offset = action_space.low + gain
    return [
        Link((f"{layer}.weight",), weight, (1, 0), gain[:, None]),
        Link((f"{layer}.bias",), bias, None, gain, offset),
    ]


def _tensors(policy: Any) -> dict[str, torch.Tensor]:
    return dict(policy.named_parameters()) | dict(policy.named_buffers())


def _check_shape(tensors: Mapping[str, torch.Tensor], name: str, shape: tuple[int, ...]) -> None:
    own = tuple(tensors[name].shape) if name in tensors else "missing"
    if own != shape:
        raise ValueError(
            f"The evolved network does not fit this policy: '{name}' is {shape}, but {own} in the policy; make it with the "
            "policy_kwargs that policies.bridge.policy_kwargs gives."
        )


def _check_options(policy: Any, bridge: Bridge) -> None:
    if bridge.options and not isinstance(policy, HebbianRecurrentPolicy):
        raise ValueError(f"An evolved Hebbian network goes into RecurrentPPO's HebbianPolicy, not {type(policy).__name__}.")
    for name, value in bridge.options.items():
        own = getattr(policy.net, name)
        if own != value:
            raise ValueError(f"The network was evolved with {name}='{value}', but this policy has {name}='{own}'.")


def _at(params: Any, path: Path) -> Any:
    for key in path:
        params = params[key]
    return params


def _key(entry: Any) -> Any:
    """The plain key of an entry of a pytree's path."""
    return entry.key if hasattr(entry, "key") else entry.idx
