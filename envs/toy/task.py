"""Objective functions as pure functions in JAX, for rollouts that play whole populations in one program."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from envs.toy.objectives import make_objective


class ToyState(NamedTuple):
    """State of one environment."""

    obs: jax.Array
    """Always 1, float32 (1,)."""
    reward: jax.Array
    """The objective of the last action, float32 ()."""
    terminated: jax.Array
    """True after the step, bool ()."""


class ToyTask:
    """`ToyEnv` as reset(key) -> state and step(state, action) -> state; made by `make_task`."""

    max_episode_steps = 1
    observation_size = 1

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.action_size = size
        self._objective = make_objective(name, size)

    def reset(self, key: jax.Array) -> ToyState:
        """The same state for every key."""
        return ToyState(jnp.ones(1), jnp.float32(0.0), jnp.bool_(False))

    def step(self, state: ToyState, action: jax.Array) -> ToyState:
        """Judge an action (size,); it is clipped to [-1, 1]. The reward is NaN when the action holds one."""
        value = self._objective.function(jnp.clip(action, -1.0, 1.0)).astype(jnp.float32)
        return ToyState(state.obs, jnp.where(jnp.isfinite(action).all(), value, jnp.nan), jnp.bool_(True))


@functools.cache
def make_task(name: str, size: int = 256) -> ToyTask:
    """The task of that objective; equal arguments give the same object. ValueError as for `make_objective`."""
    return ToyTask(name, size)
