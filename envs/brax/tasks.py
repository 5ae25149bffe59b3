"""Brax tasks as pure functions: reset(key) -> state, step(state, action) -> state, composed with `vmap` and `scan`."""

import difflib
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from envs.brax.imports import import_v1, import_v2
from envs.continual.perturb import Perturbation, check_fidelity

if TYPE_CHECKING:
    from envs.brax.damage import DamagedTask

PHYSICS: tuple[str, ...] = ("v1", "generalized", "spring", "positional", "mjx")
TASKS: dict[str, str] = {
    task.lower(): task for task in ("Hopper", "Walker2d", "HalfCheetah", "Ant", "Humanoid", "Reacher", "Swimmer")
}
# Current Brax has Swimmer on the generalized pipeline alone, and its fluid forces do not trace on current JAX.
MISSING: dict[str, tuple[str, ...]] = {"swimmer": PHYSICS[1:]}
REWARDS: tuple[str, ...] = ("full", "progress")


class TaskState(NamedTuple):
    """State of one environment; a pytree whose structure and dtypes never change."""

    physics: Any
    """Brax's own state."""
    obs: jax.Array
    """Observation, float32 (D,)."""
    reward: jax.Array
    """Reward of the last step, float32 (); NaN when the physics diverged in it."""
    terminated: jax.Array
    """Whether the robot is unhealthy or the physics diverged, bool (); a time limit never sets it."""
    metrics: dict[str, jax.Array]
    """Reward terms and positions under Brax's names, float32 ()."""
    damage: Any = ()
    """What is broken (`envs.brax.damage.DamageState`); empty for a task without damage."""


class BraxTask:
    """A robot and its task under one kind of physics; made by `make_task`, compared by identity.

    Actions are clipped to [-1, 1]. When an observation or reward becomes non-finite the state is terminated, its
    observation zero and its reward NaN, so that a diverged episode can be recognised by its return.
    """

    def __init__(self, name: str, physics: str, max_episode_steps: int, reward: str) -> None:
        self.name = name
        self.reward = reward
        self.physics = physics
        self.max_episode_steps = max_episode_steps
        self.perturbation = Perturbation()
        self.fidelity = "corrected"
        if physics == "v1":
            self.env: Any = import_v1().get_environment(name)
            self.dt = float(self.env.sys.config.dt)
        else:
            self.env = import_v2().get_environment(name, backend=physics)
            self.dt = float(self.env.dt)
        # Brax's own `observation_size` resets the robot operation by operation, which takes many seconds.
        self.observation_size = int(jax.eval_shape(self.env.reset, jax.random.key(0)).obs.shape[-1])
        self.action_size = int(self.env.action_size)

    def __repr__(self) -> str:
        steps = self.max_episode_steps
        return f"BraxTask({self.name!r}, physics={self.physics!r}, max_episode_steps={steps}, reward={self.reward!r})"

    def reset(self, key: jax.Array) -> TaskState:
        """Initial state drawn with a typed key (`jax.random.key`)."""
        return self._wrap(self.env.reset(key))

    def step(self, state: TaskState, action: jax.Array) -> TaskState:
        """One step of `dt` seconds under action (A,)."""
        return self._wrap(self.env.step(state.physics, jnp.clip(action, -1.0, 1.0)))

    def restart(self, key: jax.Array, state: TaskState) -> TaskState:
        """Initial state of the episode after `state`: with the same damage, if any."""
        return self.reset(key)

    def with_damage(self, damage: Any) -> "tuple[DamagedTask, int]":
        """The task for which `damage` is also known, and its number there; states of this task can be given to its
        `set_damage`. ValueError as for `make_task`."""
        from envs.brax.damage import make_damaged

        return make_damaged(self, None, False).with_damage(damage)

    @functools.cached_property
    def jit_reset(self) -> Any:
        """`reset` compiled; shared by all environments of this task."""
        return jax.jit(self.reset)

    @functools.cached_property
    def jit_step(self) -> Any:
        """`step` compiled; shared by all environments of this task."""
        return jax.jit(self.step)

    def _wrap(self, state: Any) -> TaskState:
        state = jax.tree.map(_strong, state)
        reward = state.metrics["x_velocity"] if self.reward == "progress" else state.reward
        valid = jnp.all(jnp.isfinite(state.obs)) & jnp.isfinite(reward)
        return TaskState(
            state,
            jnp.where(valid, state.obs, 0.0),
            jnp.where(valid, reward, jnp.nan),
            (state.done > 0) | ~valid,
            dict(sorted(state.metrics.items())),
        )


@functools.cache
def _cached_task(name: str, physics: str, max_episode_steps: int, reward: str) -> BraxTask:
    return BraxTask(name, physics, max_episode_steps, reward)


def make_task(
    name: str,
    physics: str = "v1",
    max_episode_steps: int = 1000,
    damage: Any = None,
    observe_damage: bool = False,
    reward: str = "full",
    perturbation: Any = None,
    fidelity: str = "corrected",
) -> BraxTask:
    """The task of that name ("humanoid", "Humanoid" or "BraxHumanoid-v0"); equal arguments give the same object.

    :param damage: what is broken on the ant, and when (see `envs.damage`)
    :param observe_damage: append a flag for each part of the ant to the observation (1: broken now)
    :param reward: "full", Brax's own, or "progress", the forward velocity alone in m/s
    :param perturbation: what is different about the robot and its world (see `envs.continual.perturb`); not with damage
    :param fidelity: "corrected" or "original", how the perturbation is meant
    :raises ValueError: for an unknown task, physics, reward or fidelity, a task that the physics cannot simulate, damage that
        makes no sense or of another robot than the ant, a perturbation that makes no sense or of Reacher or Swimmer, both
        damage and a perturbation, progress of Reacher
    """
    task = find_task(name)
    if task is None:
        near = difflib.get_close_matches(name.lower(), TASKS, n=1, cutoff=0.0)[0]
        raise ValueError(f"Unknown Brax task '{name}'. Did you mean '{TASKS[near]}'? Known: {', '.join(TASKS.values())}.")
    if physics not in PHYSICS:
        near = difflib.get_close_matches(str(physics), PHYSICS, n=1, cutoff=0.0)[0]
        raise ValueError(f"Unknown physics '{physics}'. Did you mean '{near}'? Known: {', '.join(PHYSICS)}.")
    if physics not in available_physics(task):
        raise ValueError(
            f"Brax has no {TASKS[task]} with physics='{physics}'; use one of {', '.join(available_physics(task))}."
        )
    if max_episode_steps < 1:
        raise ValueError(f"max_episode_steps={max_episode_steps} must be at least 1.")
    if reward not in REWARDS:
        near = difflib.get_close_matches(str(reward), REWARDS, n=1, cutoff=0.0)[0]
        raise ValueError(f"Unknown reward '{reward}'. Did you mean '{near}'? Known: {', '.join(REWARDS)}.")
    if reward == "progress" and task == "reacher":
        raise ValueError("Reacher stays where it is; use reward='full'.")
    check_fidelity(fidelity)
    made = _cached_task(task, physics, max_episode_steps, reward)
    if perturbation not in (None, Perturbation()):
        from envs.brax.perturbed import make_perturbed

        made = make_perturbed(made, perturbation, fidelity)
    if damage is None and not observe_damage:
        return made
    from envs.brax.damage import make_damaged

    return make_damaged(made, damage, observe_damage)


def find_task(name: str) -> str | None:
    """Brax's own name of a task given in any of its forms; None when it is no Brax task."""
    key = name.removeprefix("Brax").removesuffix("-v0").lower()
    return key if key in TASKS else None


def available_physics(task: str) -> tuple[str, ...]:
    """Which physics have this task."""
    return tuple(p for p in PHYSICS if p not in MISSING.get(task, ()))


def _strong(x: Any) -> Any:
    """Give a leaf a definite dtype, so that a loop's carry keeps its type."""
    if jnp.issubdtype(jnp.result_type(x), jnp.floating):
        return jnp.asarray(x, jnp.float32)
    return jnp.asarray(x, jnp.result_type(x))
