"""What the spiking network of a policy does while the policy acts: hooks that keep its last call, and a rollout."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from policies.decoders import LateralDecoder, PopulationDecoder
from policies.neurons import Neurons, State
from policies.sb3.common import acting_net
from policies.spiking import SpikingNet


class Fired(NamedTuple):
    """A layer in one call of the network: spikes and distances to the threshold (before the reset), both (T, B, N)."""

    spikes: Tensor
    distances: Tensor


class Call(NamedTuple):
    """One call of a network for B observations.

    :param encoded: what the encoder gave, (T, B, S), or (1, B, S) where it is the same at every step
    :param layers: the spiking layers, and last the decoder's own neurons where it has some
    :param from_rest: the neurons did not go on from the call before
    :param carried: (B, N) spikes that a lateral decoder kept from the call before; None from rest
    """

    encoded: Tensor
    layers: tuple[Fired, ...]
    from_rest: bool
    carried: Tensor | None


class Watch:
    """Context manager that keeps the last call of the network with which a policy, or a model's policy, acts."""

    def __init__(self, model: Any) -> None:
        policy = getattr(model, "policy", model)
        self.acting: nn.Module = getattr(policy, "actor", policy)
        if not (isinstance(self.acting, nn.Module) and any(isinstance(m, SpikingNet) for m in self.acting.modules())):
            raise ValueError(f"{type(policy).__name__} has no spiking network; give a model of a spiking policy.")
        self.net = acting_net(policy)
        self.neurons = all_neurons(self.net)
        self.features_macs = 0
        self._handles: list[Any] = []
        self._encoded: Tensor | None = None
        self._calls: dict[Neurons, list[tuple[Tensor, State | None, Tensor]]] = {}
        self._carried: Tensor | None = None

    def __enter__(self) -> "Watch":
        hooks = [self.net.encoder.register_forward_hook(self._begins), self.net.decoder.register_forward_hook(self._ends)]
        hooks += [neurons.register_forward_hook(self._fires) for neurons in self.neurons]
        extractor = next((m for m in self.acting.modules() if isinstance(m, BaseFeaturesExtractor)), nn.Identity())
        hooks.append(extractor.register_forward_pre_hook(self._extracts))
        dense = [m for m in extractor.modules() if isinstance(m, nn.Linear | _ConvNd)]
        self._handles = [*hooks, *(m.register_forward_hook(self._multiplies) for m in dense)]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._encoded = None

    def take(self) -> Call | None:
        """The last call, once; None when there was none since."""
        if self._encoded is None:
            return None
        layers = []
        for neurons in self.neurons:
            # A lateral decoder steps its neurons one by one, every other layer makes one sequence.
            calls = self._calls[neurons]
            distances = [step for currents, state, _ in calls for step in neurons.distances(currents, state)]
            spikes = [step for _, _, fired in calls for step in fired]
            layers.append(Fired(torch.stack(spikes), torch.stack(distances)))
        call = Call(self._encoded, tuple(layers), self._calls[self.neurons[0]][0][1] is None, self._carried)
        self._encoded = None
        return call

    def _begins(self, encoder: nn.Module, args: Any, out: Any) -> None:
        self._encoded = out[0].detach()
        self._calls = {neurons: [] for neurons in self.neurons}

    def _fires(self, neurons: Any, args: Any, out: Any) -> None:
        currents, state = args
        start = None if state is None else tuple(x.detach() for x in state)
        self._calls[neurons].append((currents.detach(), start, out[0].detach()))

    def _ends(self, decoder: nn.Module, args: Any, out: Any) -> None:
        state = args[1]
        self._carried = state[-2].detach() if isinstance(decoder, LateralDecoder) and state is not None else None

    def _extracts(self, extractor: nn.Module, args: Any) -> None:
        self.features_macs = 0

    def _multiplies(self, layer: Any, args: Any, out: Tensor) -> None:
        """Multiplications of a linear or convolutional layer for one observation: each output is a sum over the inputs that
        it sees."""
        self.features_macs += out[0].numel() * layer.weight[0].numel()


class Step(NamedTuple):
    """One step of n environments.

    :param observations: (n, ...) that the actions answer
    :param actions: (n, ...)
    :param rewards: (n,)
    :param counted: (n,) whether the step belongs to an episode that was asked for
    :param infos: of each environment
    :param state: what the policy keeps for the next step, as `predict` gives it
    """

    observations: Any
    actions: np.ndarray
    rewards: np.ndarray
    counted: np.ndarray
    infos: list[dict[str, Any]]
    state: Any


def play(
    model: Any,
    env: gymnasium.Env[Any, Any] | VecEnv,
    episodes: int = 1,
    steps: int | None = None,
    deterministic: bool = True,
    seed: int | None = None,
    change_state: Callable[[int, Any], Any] | None = None,
) -> Iterator[Step]:
    """Let a model or policy act; yields after each step.

    :param episodes: shared out between the environments beforehand, so that short episodes are not preferred
    :param steps: stop after this many steps of each environment at the latest
    :param seed: of the start states
    :param change_state: (number of the step, the policy's state) -> the state with which the policy goes on
    """
    for name, value in (("episodes", episodes), ("steps", steps)):
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} must be at least 1.")
    venv = env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])
    if seed is not None:
        venv.seed(seed)
    n = venv.num_envs
    left = np.array([(episodes + i) // n for i in range(n)])
    observations, state, starts = venv.reset(), None, np.ones(n, bool)
    played = 0
    while left.any() and (steps is None or played < steps):
        if change_state is not None:
            state = change_state(played, state)
        actions, state = model.predict(observations, state=state, episode_start=starts, deterministic=deterministic)
        seen = observations
        observations, rewards, starts, infos = venv.step(actions)
        yield Step(seen, actions, rewards, left > 0, infos, state)
        left -= (left > 0) & starts
        played += 1


def all_neurons(net: SpikingNet) -> list[Neurons]:
    """The neurons of every spiking layer, and last a decoder's own."""
    own = [net.decoder.neurons] if isinstance(net.decoder, PopulationDecoder) else []
    return [*(layer.neurons for layer in net.spiking_layers()), *own]
