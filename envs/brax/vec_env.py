"""Brax tasks as a Stable-Baselines3 VecEnv: any number of environments, one compiled call a step."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from envs.brax.damage import DamagedTask
from envs.brax.gym import box_spaces, frames_per_second
from envs.brax.tasks import BraxTask, TaskState, make_task
from envs.damaged.course import check_action


class _Lanes(NamedTuple):
    """All environments on the device; leaves have a leading axis (n,)."""

    key: jax.Array
    env: TaskState
    ret: jax.Array
    length: jax.Array


class _Outcome(NamedTuple):
    """What the host needs of a step."""

    obs: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    final_obs: jax.Array
    ret: jax.Array
    length: jax.Array
    diverged: jax.Array
    damage: Any
    """`DamageState` of the step; `()` when the task has no damage."""


class BraxVecEnv(VecEnv):
    """`num_envs` copies of a Brax task that reset themselves, stepped in one jitted call.

    Environment i is seeded with seed + i and then has the stream of resets of `BraxEnv` with that seed.
    `infos` carry `terminal_observation`, `TimeLimit.truncated` and `episode` (r, l, t) at the end of an episode, so no
    Monitor is needed, and `diverged` where the physics failed (that step's reward is 0).
    With damage, every info has the names of the faults that were there in the step (`damage`).
    `env_method` reaches "render", "reset" and "set_damage" of single environments; `set_damage(damage)` holds from the next
    step on, its schedule counts from now, in later episodes from their start. New damage takes some seconds to compile.

    :param task: a task name such as "Humanoid", or a `BraxTask`
    :param num_envs: width, at least 1
    :param physics: "v1", "generalized", "spring", "positional" or "mjx" (when the task is a name)
    :param seed: seed of environment 0; drawn from the system when None
    :param max_episode_steps: steps after which an episode is truncated (when the task is a name)
    :param render_mode: None or "rgb_array"
    :param damage: what is broken on the ant, and when; see `envs.damage` (when the task is a name)
    :param observe_damage: append a flag for each part of the ant to the observation (when the task is a name)
    :param reward: "full" or "progress", see `BraxEnv` (when the task is a name)
    :param perturbation: what is different about the robot; see `envs.continual.perturb` (when the task is a name)
    :param fidelity: "corrected" or "original", how the perturbation is meant (when the task is a name)
    """

    def __init__(
        self,
        task: str | BraxTask,
        num_envs: int = 1,
        physics: str = "v1",
        seed: int | None = None,
        max_episode_steps: int = 1000,
        render_mode: str | None = None,
        damage: Any = None,
        observe_damage: bool = False,
        reward: str = "full",
        perturbation: Any = None,
        fidelity: str = "corrected",
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs} must be at least 1.")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode='{render_mode}' is not supported; use None or 'rgb_array'.")
        if isinstance(task, str):
            task = make_task(task, physics, max_episode_steps, damage, observe_damage, reward, perturbation, fidelity)
        elif (damage, observe_damage, reward, perturbation, fidelity) != (None, False, "full", None, "corrected"):
            raise ValueError(
                "A BraxTask has its own damage, reward and perturbation; give damage, observe_damage, reward, perturbation or "
                "fidelity to make_task."
            )
        self.task = task
        self._which = np.zeros(num_envs, np.int32)  # of the task's damages
        self.render_mode = render_mode
        self.metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": frames_per_second(self.task)}
        self._lanes: _Lanes | None = None
        self._keys: jax.Array | None = None
        self._actions = np.zeros((num_envs, self.task.action_size), np.float32)
        self._start = time.time()
        super().__init__(num_envs, *box_spaces(self.task))
        self.seed(seed)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed environment i with seed + i; takes effect at the next `reset`."""
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0] >> 1)
        self._seeds = [seed + i for i in range(self.num_envs)]
        self._keys = jax.vmap(jax.random.key)(jnp.asarray(self._seeds, jnp.uint32))
        return self._seeds

    def reset(self) -> np.ndarray:
        keys = self._keys if self._keys is not None else self._require_lanes().key
        self._keys = None
        self._lanes = _reset(self.task, self.num_envs)(keys, *self._numbers())
        self.reset_infos = self._damage_infos(self._lanes.env.damage)
        self._reset_options()
        return np.array(self._lanes.env.obs)

    def step_async(self, actions: np.ndarray) -> None:
        check_action(actions)
        self._actions = np.asarray(actions, np.float32).reshape(self._actions.shape)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        self._lanes, outcome = _step(self.task, self.num_envs)(self._require_lanes(), self._actions)
        o: Any = jax.tree.map(np.array, outcome)
        infos = self._damage_infos(o.damage)
        dones = o.terminated | o.truncated
        elapsed = round(time.time() - self._start, 6)
        for i in np.flatnonzero(dones):
            infos[i] |= {
                "terminal_observation": o.final_obs[i],
                "TimeLimit.truncated": bool(o.truncated[i] and not o.terminated[i]),
                "episode": {"r": float(o.ret[i]), "l": int(o.length[i]), "t": elapsed},
                "diverged": bool(o.diverged[i]),
            }
        if dones.any() and isinstance(self.task, DamagedTask):
            fresh = self._damage_infos(self._lanes.env.damage)
            self.reset_infos = [new if done else old for new, old, done in zip(fresh, self.reset_infos, dones, strict=True)]
        return o.obs, o.reward, dones, infos

    def close(self) -> None:
        self._lanes = None

    def render(self, mode: str | None = None) -> np.ndarray | None:
        return super().render(mode=mode) if self.render_mode is not None else None

    def get_images(self) -> Sequence[np.ndarray | None]:
        return [self._render_one(i) for i in range(self.num_envs)]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"'{attr_name}' is shared by all environments of a BraxVecEnv; set it with indices=None.")
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        methods: dict[str, Callable[..., Any]] = {"render": self._render_one, "reset": self._reset_one}
        if method_name == "set_damage":
            chosen = list(self._get_indices(indices))
            self._set_damage(chosen, *args, **kwargs)
            return [None] * len(chosen)
        if method_name not in methods:
            raise AttributeError(f"BraxVecEnv has no method '{method_name}'; known: {', '.join(methods)}, set_damage.")
        return [methods[method_name](int(i), *args, **kwargs) for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """True for Monitor alone, whose `episode` infos are given here."""
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def _require_lanes(self) -> _Lanes:
        if self._lanes is None:
            raise RuntimeError("Call reset before the first step.")
        return self._lanes

    def _render_one(self, index: int) -> np.ndarray:
        from envs.brax.render import render

        lanes = self._require_lanes()
        return render(self.task, jax.tree.map(lambda x: x[index], lanes.env))

    def _reset_one(self, index: int, seed: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Reset one environment, as `BraxEnv.reset` does."""
        lanes = self._require_lanes()
        key, sub = jax.random.split(lanes.key[index] if seed is None else jax.random.key(seed))
        env = self.task.jit_reset(sub, *(which[index] for which in self._numbers()))
        fresh = _Lanes(key, env, jnp.float32(0.0), jnp.int32(0))
        self._lanes = jax.tree.map(lambda x, y: x.at[index].set(y), lanes, fresh)
        return np.array(env.obs), self._damage_infos(self._lanes.env.damage)[index]

    def _set_damage(self, indices: list[int], damage: Any) -> None:
        task, which = self.task.with_damage(damage)
        self._which[indices] = which
        if self._lanes is not None:
            chosen = np.isin(np.arange(self.num_envs), indices)
            self._lanes = _set_damage(task, self.num_envs)(self._lanes, self._which, chosen)
        self.task = task

    def _numbers(self) -> tuple[np.ndarray, ...]:
        """What the task's reset needs besides the keys: which damage each environment has, if there is any."""
        return (self._which,) if isinstance(self.task, DamagedTask) else ()

    def _damage_infos(self, damage: Any) -> list[dict[str, Any]]:
        """New infos of all environments."""
        if not isinstance(self.task, DamagedTask):
            return [{} for _ in range(self.num_envs)]
        alternative, active = jax.device_get((damage.alternative, damage.active))
        return [{"damage": self.task.damage_names(*pair)} for pair in zip(alternative, active, strict=True)]


def _start_lane(task: BraxTask, key: jax.Array, *which: jax.Array) -> _Lanes:
    key, sub = jax.random.split(key)
    return _Lanes(key, task.reset(sub, *which), jnp.float32(0.0), jnp.int32(0))


def _restart_lane(task: BraxTask, lane: _Lanes) -> _Lanes:
    key, sub = jax.random.split(lane.key)
    return _Lanes(key, task.restart(sub, lane.env), jnp.float32(0.0), jnp.int32(0))


@functools.cache
def _reset(task: BraxTask, num_envs: int) -> Any:
    return jax.jit(jax.vmap(functools.partial(_start_lane, task)))


@functools.cache
def _step(task: BraxTask, num_envs: int) -> Any:
    """The compiled step of this many environments: (lanes, actions) -> (lanes, outcome)."""

    def advance(lane: _Lanes, action: jax.Array) -> tuple[_Lanes, _Outcome]:
        env = task.step(lane.env, action)
        diverged = jnp.isnan(env.reward)
        reward = jnp.where(diverged, 0.0, env.reward)
        ret, length = lane.ret + reward, lane.length + 1
        truncated = length >= task.max_episode_steps
        outcome = _Outcome(env.obs, reward, env.terminated, truncated, env.obs, ret, length, diverged, env.damage)
        return _Lanes(lane.key, env, ret, length), outcome

    def step(lanes: _Lanes, actions: jax.Array) -> tuple[_Lanes, _Outcome]:
        lanes, outcome = jax.vmap(advance)(lanes, actions)
        done = outcome.terminated | outcome.truncated

        def restart(lanes: _Lanes) -> _Lanes:
            fresh = jax.vmap(functools.partial(_restart_lane, task))(lanes)
            return _select(done, fresh, lanes)

        lanes = lax.cond(jnp.any(done), restart, lambda unchanged: unchanged, lanes)
        return lanes, outcome._replace(obs=lanes.env.obs)

    return jax.jit(step, donate_argnums=0)


@functools.cache
def _set_damage(task: DamagedTask, num_envs: int) -> Any:
    """(lanes, which damage each is to have, whether it is set anew) -> lanes. Lanes of a task without damage get it all."""

    def set_damage(lanes: _Lanes, which: jax.Array, chosen: jax.Array) -> _Lanes:
        env = jax.vmap(task.set_damage)(lanes.env, which, lanes.key)
        return lanes._replace(env=_select(chosen, env, lanes.env) if lanes.env.damage else env)

    return jax.jit(set_damage)


def _select(condition: jax.Array, a: Any, b: Any) -> Any:
    """Leaves of `a` where the condition (n,) holds, of `b` elsewhere."""
    return jax.tree.map(lambda x, y: jnp.where(condition.reshape(condition.shape + (1,) * (x.ndim - 1)), x, y), a, b)
