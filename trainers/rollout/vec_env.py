"""Rollouts of any Stable-Baselines3 VecEnv: members queue for free slots."""

import functools
from collections import deque
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecMonitor

from policies.population.types import PopulationNetwork
from trainers.rollout.jitted import Result, evaluation
from trainers.rollout.normalizer import Moments, Scaling
from trainers.rollout.spaces import to_action, to_input
from trainers.rollout.types import Evaluation, episode_keys

FEWEST_LANES = 2  # of networks side by side: one alone is compiled otherwise, and rounds otherwise


class VecEnvRollout:
    """Plays episodes in the slots of a VecEnv; a slot whose episode has ended takes the next at once.

    Every episode is reset with a seed of its own, drawn from (key, member, episode), so that its result depends on
    neither the number of slots nor the order of play. Wrappers that change observations or rewards are refused
    (resets of single slots would bypass them); put them around the single environments instead.
    """

    def __init__(self, network: PopulationNetwork, env: VecEnv) -> None:
        inner = env
        while isinstance(inner, VecEnvWrapper):
            if not isinstance(inner, VecMonitor):
                raise ValueError(
                    f"{type(inner).__name__} cannot be used around a VecEnv for evolution; wrap the single environments "
                    "(observations are normalised by normalize_obs=True)."
                )
            inner = inner.venv
        self.network = network
        self.env = inner
        self._act = jax.jit(self._batched_act, donate_argnums=1)
        self._start = jax.jit(self._start_slot, donate_argnums=(1, 2))  # a slot's parameters are replaced in place
        self._shapes: dict[tuple[Any, int], Any] = {}

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
        members, episodes = np.asarray(members, np.int32), np.asarray(episodes, np.int32)
        streams = members if streams is None else np.asarray(streams, np.int32)
        count, slots = len(members), self.env.num_envs
        params_of = jax.device_put(params_of, jax.local_devices()[0])  # on all devices, every step would run on all
        keys = key, key if carry_key is None else carry_key
        scaling = Scaling.of(normalizer)
        shift = np.asarray(scaling.mean)
        queue = deque(range(count))
        item = np.full(slots, -1)
        result = self._no_results(count, shift.shape[0])
        obs: Any = self.env.reset()
        params, carry = self._blank(params_of, max(slots, FEWEST_LANES))

        def assign(slot: int) -> None:
            nonlocal params, carry
            if not queue:
                item[slot] = -1
                return
            i = item[slot] = queue.popleft()
            params, carry, seed = self._start(params_of, params, carry, slot, keys, members[i], streams[i], episodes[i])
            obs[slot] = self.env.env_method("reset", seed=int(seed), indices=[slot])[0][0]

        for slot in range(slots):
            assign(slot)
        while (item >= 0).any():
            seen = obs if slots >= FEWEST_LANES else np.repeat(obs, FEWEST_LANES, axis=0)
            carry, actions, broken, metrics = self._act(params, carry, seen, scaling)
            self.env.step_async(np.asarray(actions)[:slots])
            # Other processes' environments step meanwhile.
            broken, metrics = jax.device_get((broken, metrics))
            broken = broken[:slots]
            live = np.flatnonzero(item >= 0)
            result.length[item[live]] += 1
            if len(shift):
                deviation = np.asarray(obs, np.float32)[live] - shift
                result.first[item[live]] += deviation
                result.second[item[live]] += deviation**2
            for name, value in metrics.items():
                result.metrics[name][item[live]] += value[live]
            next_obs, rewards, dones, infos = self.env.step_wait()
            diverged = broken | [info.get("diverged", False) for info in infos]
            result.ret[item[live]] += np.where(diverged[live], np.nan, rewards[live])
            obs = np.array(next_obs)
            for slot in live[(dones | broken)[live]]:
                assign(int(slot))
        return evaluation(result, shift.astype(np.float64), counted)

    def _blank(self, params_of: Any, slots: int) -> tuple[Any, Any]:
        """Slots before their first episode."""
        call = params_of.func, slots
        if call not in self._shapes:  # each time they are found, everything is traced
            params = jax.eval_shape(params_of, jnp.zeros(slots, jnp.int32))
            carry = jax.eval_shape(jax.vmap(self.network.initial_carry), jax.random.split(jax.random.key(0), slots))
            self._shapes[call] = params, carry
        params, carry = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self._shapes[call])
        return params, carry

    def _start_slot(
        self,
        params_of: Any,
        params: Any,
        carry: Any,
        slot: jax.Array,
        keys: tuple[jax.Array, jax.Array],
        member: jax.Array,
        stream: jax.Array,
        episode: jax.Array,
    ) -> tuple[Any, Any, jax.Array]:
        """Put a member into a slot; also the seed of its environment."""
        env_key, carry_key = (episode_keys(key, stream, episode)[i] for i, key in enumerate(keys))
        fresh = jax.tree.map(lambda p: p[0], params_of(member[None]))
        params = jax.tree.map(lambda p, x: p.at[slot].set(x), params, fresh)
        carry = jax.tree.map(lambda c, x: c.at[slot].set(x), carry, self.network.initial_carry(carry_key))
        return params, carry, jax.random.bits(env_key, (), jnp.uint32) >> 1

    def _batched_act(self, params: Any, carry: Any, obs: jax.Array, scaling: Scaling) -> tuple[Any, jax.Array, jax.Array, Any]:
        """Next carry, actions, whose network gave no number (its episode ends as diverged), and metrics."""
        carry, output = jax.vmap(self.network.apply)(params, carry, scaling(to_input(obs, self.env.observation_space)))
        broken = ~jnp.isfinite(output).all(axis=-1)
        action = to_action(jnp.nan_to_num(output), self.env.action_space)
        return carry, action, broken, jax.vmap(self.network.metrics, axis_size=obs.shape[0])(carry)

    @functools.cached_property
    def _metrics(self) -> tuple[str, ...]:
        """Names of what the network tells of its carry."""
        carry = jax.eval_shape(self.network.initial_carry, jax.random.key(0))
        return tuple(jax.eval_shape(self.network.metrics, carry))

    def _no_results(self, count: int, obs_size: int) -> Any:
        metrics: Any = {name: np.zeros(count, np.float32) for name in self._metrics}
        empty: Any = (np.zeros(count, np.float32), np.zeros(count, np.int32))
        first: Any = np.zeros((count, obs_size), np.float32)
        return Result(empty[0], empty[1], first, np.zeros_like(first), metrics)
