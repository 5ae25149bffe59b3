"""From what a user names to a VecEnv."""

import difflib
import importlib.metadata
from typing import TYPE_CHECKING, Any

import gymnasium
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

import envs
from envs.brax.tasks import find_task
from envs.toy.env import ToyEnv
from policies.names import choose, unexpected

if TYPE_CHECKING:
    from envs.brax.gym import BraxEnv


def find_env_id(name: str) -> str:
    """The registered id of `name`; "Humanoid" and "BraxHumanoid" mean the Brax task.

    ValueError names the nearest known ids.
    """
    if name in gymnasium.registry:
        return name
    bare = {_bare(env_id): env_id for env_id in envs.registration.ENVS}
    if _bare(name) in bare:
        return bare[_bare(name)]
    known = {env_id.lower(): env_id for env_id in [*gymnasium.registry, *(i.removeprefix("Brax")[:-3] for i in bare.values())]}
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(repr(known[n]) for n in near)}?" if near else ""
    raise ValueError(f"Unknown environment '{name}'.{hint} Brax tasks: {', '.join(bare.values())}; or any Gymnasium id.")


def _bare(name: str) -> str:
    return name.lower().removeprefix("brax").removesuffix("-v0")


def make_vec_env(
    env: str | gymnasium.Env[Any, Any] | VecEnv,
    n_envs: int,
    seed: int,
    env_kwargs: dict[str, Any],
    vec_env: str = "dummy",
) -> VecEnv:
    """A VecEnv of an id, an environment or a VecEnv (returned as it is). Brax ids give a `BraxVecEnv`,
    toys that run one after the other a `ToyVecEnv`.

    :param vec_env: how environments of an id run: "dummy", one after the other, or "subproc", in a process each
    """
    kinds: dict[str, Any] = {"dummy": DummyVecEnv, "subproc": SubprocVecEnv}
    cls = choose("vec_env", vec_env, kinds)
    if isinstance(env, VecEnv):
        return env
    from envs.toy.vec_env import ToyVecEnv

    if isinstance(env, gymnasium.Env):
        from envs.brax.gym import BraxEnv

        if isinstance(env.unwrapped, BraxEnv):
            return _brax(env.unwrapped.task.name, seed, _brax_kwargs(env, env.unwrapped))
        return ToyVecEnv([lambda: env]) if isinstance(env.unwrapped, ToyEnv) else DummyVecEnv([lambda: env])
    env_id = find_env_id(env)
    task = find_task(env_id)
    if task is not None:
        return _brax(task, seed, env_kwargs)
    if n_envs < 1:
        raise ValueError(f"n_envs={n_envs} must be at least 1.")
    ours = env_id in envs.registration.ENVS  # processes that have not imported `envs` are told to
    name = f"envs:{env_id}" if ours else env_id
    try:
        if cls is SubprocVecEnv:
            gymnasium.make(env_id, **env_kwargs).close()  # what is wrong is told here, not in a process of its own
        elif ours and "envs.toy" in envs.registration.ENVS[env_id].entry_point:
            cls = ToyVecEnv
        return sb3_make_vec_env(name, n_envs, seed, env_kwargs=env_kwargs, vec_env_cls=cls)
    except gymnasium.error.DependencyNotInstalled as error:
        raise ValueError(f"'{env_id}' needs a package that is not installed: {error}.") from error
    except TypeError as error:
        unknown = unexpected(error)
        if unknown is None:
            raise ValueError(f"'{env_id}' cannot be made with {env_kwargs}: {error}.") from error
        hint = "; give an environment that knows damage, such as DamagedAnt-v0" if unknown == "damage" else ""
        raise ValueError(f"{env_id} has no option '{unknown}'{hint}.") from error


def _brax_kwargs(env: gymnasium.Env[Any, Any], brax: "BraxEnv") -> dict[str, Any]:
    """What a BraxEnv, perhaps wrapped in a time limit, was made with."""
    limits = []
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            limits.append(env._max_episode_steps)
        env = env.env
    limit = min(limits, default=brax.task.max_episode_steps)
    kwargs = {"physics": brax.task.physics, "max_episode_steps": limit, "render_mode": brax.render_mode}
    kwargs |= {"damage": brax.damage, "observe_damage": brax.observe_damage, "reward": brax.task.reward}
    return kwargs | {"perturbation": brax.task.perturbation, "fidelity": brax.task.fidelity}


def _brax(task: str, seed: int, kwargs: dict[str, Any]) -> VecEnv:
    from envs.brax.vec_env import BraxVecEnv

    known = ("physics", "max_episode_steps", "render_mode", "damage", "observe_damage", "reward", "perturbation", "fidelity")
    for key in kwargs:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise ValueError(f"Brax tasks have no option '{key}'. Did you mean '{near}'? Known: {', '.join(known)}.")
    return BraxVecEnv(task, 1, seed=seed, **kwargs)


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    names = ("spikegym", "brax", "jax", "jaxlib", "numpy", "optax", "gymnasium", "stable_baselines3", "mujoco")
    out = {}
    for name in names:
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            out[name] = "not installed"
    return out
