"""Episodes of one policy under one condition, each from a start state of its own seed, step by step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from policies.watch import play
from trainers.adaptation.players import Player
from trainers.evolved_policy import EvolvedPolicy

SNAPSHOTS = 100  # of the weights in an episode of full length
WATCHED = 4  # episodes whose weights are kept: a plastic network may have half a million


@dataclass(frozen=True)
class Trace:
    """What happened in E episodes of at most T steps.

    :param rewards: (E, T), nan after the end
    :param positions: (E, T) metres along x after each step, nan after the end; None where `info` has no `x_position`
    :param weights: of each plastic layer, (W, S, in, out): W episodes, S moments; empty for other policies
    :param weight_steps: (S,) steps after which the weights were kept
    :param weight_changes: of each plastic layer, |W_t - W_t-1| / |W_t-1| (Frobenius norms) for every step but the first,
        (W, T - 1); nan after the end and where the weights were zero
    :param state_arrays: how many arrays the policy keeps from step to step; 0: it keeps nothing
    """

    rewards: np.ndarray
    positions: np.ndarray | None
    weights: tuple[np.ndarray, ...]
    weight_steps: np.ndarray
    weight_changes: tuple[np.ndarray, ...]
    state_arrays: int

    @property
    def returns(self) -> np.ndarray:
        """(E,)"""
        return np.nansum(self.rewards, axis=1)

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each episode, (E,)."""
        return (~np.isnan(self.rewards)).sum(1)

    @property
    def distances(self) -> np.ndarray | None:
        """Where each episode ended, (E,), metres along x."""
        if self.positions is None:
            return None
        return np.take_along_axis(self.positions, self.lengths[:, None] - 1, axis=1)[:, 0]


def record(
    player: Player,
    venv: VecEnv,
    episodes: int,
    seed: int,
    horizon: int | None,
    change_state: Callable[[int, Any], Any] | None = None,
) -> Trace:
    """Let a policy play; episode i starts from seed + i, whatever the policy and the number of environments. What policies
    draw themselves comes from `seed` too.

    :param horizon: steps of the longest episode that is possible, if known
    """
    env = player.normalized(venv)
    every = (horizon or 1) // SNAPSHOTS | 1  # odd: weights that flip at every step are seen to do so
    firsts = range(0, episodes, venv.num_envs)
    batches = [_play_batch(player, env, seed + first, every if first == 0 else None, change_state) for first in firsts]
    longest = horizon or max(len(batch.rewards) for batch in batches)
    rewards = _join([batch.rewards for batch in batches], longest)[:episodes]
    positions = _join([batch.positions for batch in batches], longest)[:episodes]
    _, _, weights, changes, state_arrays = batches[0]
    return Trace(
        rewards,
        None if np.isnan(positions).all() else positions,
        tuple(np.stack(layer, axis=1) for layer in zip(*weights, strict=True)),
        1 + every * np.arange(len(weights)),
        tuple(_join([np.array(layer)], longest - 1) for layer in zip(*changes, strict=True)),
        state_arrays,
    )


class _Batch(NamedTuple):
    """One episode of each of n environments, T steps: rewards and positions (T, n); of the first W of them and each layer
    snapshots (W, in, out) and changes (W,) of the weights; all nan after the end."""

    rewards: np.ndarray
    positions: np.ndarray
    weights: list[list[np.ndarray]]
    changes: list[list[np.ndarray]]
    state_arrays: int


def _play_batch(
    player: Player, env: VecEnv, seed: int, every: int | None, change_state: Callable[[int, Any], Any] | None
) -> _Batch:
    """:param every: how many steps lie between snapshots of the weights; None: none are kept"""
    set_random_seed(seed)
    if isinstance(player.model.policy, EvolvedPolicy):
        player.model.policy.set_random_seed(seed)
    rewards, positions, weights, changes = [], [], [], []
    state_arrays, last = 0, None
    for t, step in enumerate(play(player.model, env, env.num_envs, seed=seed, change_state=change_state)):
        rewards.append(np.where(step.counted, step.rewards, np.nan))
        positions.append(np.where(step.counted, [info.get("x_position", np.nan) for info in step.infos], np.nan))
        state_arrays = len(step.state or ())
        if every is None:
            continue
        running = step.counted[:WATCHED, None, None]
        now = [np.where(running, layer[:WATCHED], np.nan) for layer in player.plastic_weights(step.state)]
        if t % every == 0:
            weights.append(now)
        if last is not None:
            changes.append([relative_change(*pair) for pair in zip(last, now, strict=True)])
        last = now
    return _Batch(np.array(rewards), np.array(positions), weights, changes, state_arrays)


def relative_change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """|after - before| / |before| of matrices (W, in, out), Frobenius norms: (W,); nan where `before` is zero."""
    size = np.linalg.norm(before, axis=(1, 2))
    return np.divide(np.linalg.norm(after - before, axis=(1, 2)), size, out=np.full_like(size, np.nan), where=size > 0)


def _join(batches: list[np.ndarray], longest: int) -> np.ndarray:
    """Batches (T, n) of episodes as rows (E, longest), filled up with nan."""
    return np.concatenate([np.pad(b, ((0, longest - len(b)), (0, 0)), constant_values=np.nan).T for b in batches])
