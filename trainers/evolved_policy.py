"""Evolved networks behind Stable-Baselines3's policy interface."""

from typing import Any, ClassVar

import jax
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from policies.population import NETWORKS, make_network
from trainers.rollout.normalizer import Moments, Scaling
from trainers.rollout.spaces import network_sizes, normalized_size, to_action, to_input
from trainers.rollout.types import select


class EvolvedPolicy(BasePolicy):
    """A population network as an SB3 policy: `predict` on NumPy observations, state passed from step to step.

    The deployed network is the mean of the strategy (for EC, synapses with rho > 0.5), with the observation statistics
    it was evaluated with. `state` holds the network's carry, one row an environment; where `episode_start` is True, or
    when `state` is None, it starts afresh.

    :param policy_kwargs: options of the network, plain numbers and strings
    """

    network_name: ClassVar[str]

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space, seed: int = 0, **network_kwargs: Any):
        super().__init__(observation_space, action_space)
        self.network_kwargs = network_kwargs
        self.network = make_network(self.network_name, *network_sizes(observation_space, action_space), **network_kwargs)
        self.moments = Moments.empty(normalized_size(observation_space))
        self.params: Any = None
        self.set_random_seed(seed)
        self._structure = jax.tree.structure(jax.eval_shape(self.network.initial_carry, self._key))
        self._act = jax.jit(self._batched_act)

    def set_random_seed(self, seed: int) -> None:
        """Draw states that start afresh from this seed on."""
        self._key = jax.random.key(seed)

    def set_mean(self, params: Any, moments: Moments) -> None:
        """Deploy these parameters with these observation statistics."""
        self.params, self.moments = params, moments

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Actions for observations of the space's shape, or (n, ...) of them, and the state to pass in next time.

        The network is the same whether `deterministic` or not; only a state that starts afresh is drawn at random.
        """
        obs, shape = np.asarray(observation), self.observation_space.shape
        assert shape is not None
        if obs.shape[obs.ndim - len(shape) :] != shape or obs.ndim > len(shape) + 1:
            raise ValueError(f"Observation of shape {obs.shape}; this policy takes {shape}, or any number of them at once.")
        single = obs.ndim == len(shape)
        obs = obs.reshape(-1, *shape)
        if isinstance(self.observation_space, spaces.Discrete) and not all(map(self.observation_space.contains, obs)):
            raise ValueError(f"Observation {obs} is not in {self.observation_space}.")
        fresh = np.ones(len(obs), bool) if state is None else np.zeros(len(obs), bool)
        if episode_start is not None:
            fresh |= np.asarray(episode_start, bool)
        self._key, key = jax.random.split(self._key)
        keys = jax.random.split(key, len(obs))
        carry = jax.vmap(self.network.initial_carry)(keys) if state is None else jax.tree.unflatten(self._structure, state)
        carry, action = self._act(self.params, Scaling.of(self.moments), carry, obs, fresh, keys)
        action = np.asarray(action)
        return action[0] if single else action, tuple(np.asarray(x) for x in jax.tree.leaves(carry))

    def _batched_act(
        self, params: Any, scaling: Scaling, carry: Any, obs: jax.Array, fresh: jax.Array, keys: jax.Array
    ) -> tuple[Any, jax.Array]:
        start = jax.vmap(self.network.initial_carry)(keys)
        carry = select(fresh, start, carry)
        seen = scaling(to_input(obs, self.observation_space))
        carry, output = jax.vmap(self.network.apply, in_axes=(None, 0, 0))(params, carry, seen)
        return carry, to_action(output, self.action_space)

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        return torch.as_tensor(self.predict(observation.cpu().numpy(), deterministic=deterministic)[0])


POLICIES: dict[str, type[EvolvedPolicy]] = {
    name: type(name, (EvolvedPolicy,), {"network_name": name, "__doc__": EvolvedPolicy.__doc__}) for name in NETWORKS
}
