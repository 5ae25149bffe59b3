"""What a rollout takes and gives."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from trainers.rollout.normalizer import Moments


class Evaluation(NamedTuple):
    """Episodes played, in the order in which they were asked for (L of them)."""

    returns: np.ndarray
    """Undiscounted returns, float32 (L,); NaN where the physics diverged."""
    lengths: np.ndarray
    """Steps alive, int32 (L,)."""
    moments: Moments
    """Observations of all alive steps that count (see `counted`)."""
    env_steps: int
    """Alive steps, the sum of the lengths."""
    metrics: dict[str, float]
    """Network metrics averaged over alive steps, such as firing rates."""


@runtime_checkable
class Task(Protocol):
    """An environment as pure functions in JAX; actions are vectors in [-1, 1]."""

    observation_size: int
    action_size: int
    max_episode_steps: int

    def reset(self, key: jax.Array) -> Any:
        """A state: a pytree with `obs` (observation_size,), `reward` () (NaN when the physics diverged) and `terminated`
        ()."""

    def step(self, state: Any, action: jax.Array) -> Any:
        """The state after this action."""


class Rollout(Protocol):
    """Plays episodes of population members. Same key, same results, however the work is spread."""

    def __call__(
        self,
        params_of: Any,
        members: np.ndarray,
        episodes: np.ndarray,
        key: jax.Array,
        normalizer: Moments,
        counted: np.ndarray | None = None,
        carry_key: jax.Array | None = None,
        streams: np.ndarray | None = None,
    ) -> Evaluation:
        """Play episode `episodes[i]` of member `members[i]` for every i.

        :param params_of: maps member indices (n,) to parameters with a leading axis n; a `jax.tree_util.Partial`, so
            that its arrays may change from call to call without recompiling
        :param members: member indices (L,)
        :param episodes: episode numbers (L,): member and episode select the random stream, position does not
        :param key: seeds environments and initial states of the networks
        :param normalizer: statistics that observations are normalised with, frozen for the call
        :param counted: which episodes (L,) enter the moments; all by default
        :param carry_key: seeds the initial states of the networks alone, when these are not to be seeded by `key`
        :param streams: numbers (L,) that select the random streams in place of the members: episodes of equal stream and
            number start alike, whoever plays them
        """


def episode_keys(key: jax.Array, stream: jax.Array, episode: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Keys of an episode's environment and of the network's initial state, from its stream (the member, unless another is
    given) and number alone."""
    env_key, carry_key = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, stream), episode))
    return env_key, carry_key


def select(mask: jax.Array, new: Any, old: Any) -> Any:
    """Leaves of `new` where `mask` (n,) is True along their leading axis, of `old` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - 1)), a, b), new, old)
