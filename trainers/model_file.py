"""Evolution algorithms to and from checkpoint files."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from trainers import checkpoint
from trainers.checkpoint import CheckpointError
from trainers.rollout.normalizer import Moments


def save(model: Any, path: Any) -> None:
    """Write `model` to `path` (".zip" is added when there is no suffix)."""
    arrays = {f"state/{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(model.state))}
    arrays |= {f"policy/{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(model.policy.params))}
    for name, moments in (("moments", model.moments), ("policy_moments", model.policy.moments)):
        arrays |= {
            f"{name}/count": np.float64(moments.total).reshape(1),
            f"{name}/mean": moments.mean,
            f"{name}/m2": moments.m2,
        }
    names = list(dict.fromkeys(name for row in model.history for name in row))
    for name in names:
        arrays[f"history/{name}"] = np.array([row.get(name, np.nan) for row in model.history], np.float64)
    meta = {
        "algorithm": type(model).__name__,
        "policy": model.policy.network_name,
        "arguments": model.arguments(),
        "env": model.env_id,
        "observation_space": space_to_json(model.observation_space),
        "action_space": space_to_json(model.action_space),
        "generation": model.generation,
        "num_timesteps": model.num_timesteps,
        "total_timesteps": model._total_timesteps,
        "best_mean_reward": model.best_mean_reward,
        "history": {name: "int" if all(isinstance(r.get(name, 0), int) for r in model.history) else "float" for name in names},
    }
    checkpoint.save(with_suffix(path), arrays, meta)


def load(cls: Any, path: Any, env: Any, **kwargs: Any) -> Any:
    """Build `cls` from the file; keywords override its arguments (schedules, say), not its network."""
    arrays, meta = checkpoint.load(with_suffix(path))
    check_writer(meta, cls, path)
    model = cls(meta["policy"], env, **(meta["arguments"] | kwargs), _init_setup_model=False)
    model.observation_space = space_from_json(meta["observation_space"])
    model.action_space = space_from_json(meta["action_space"])
    if env is not None and (model.env.observation_space, model.env.action_space) != (
        model.observation_space,
        model.action_space,
    ):
        raise ValueError(f"'{path}' was trained on {model.observation_space} and {model.action_space}; this env differs.")
    model.env_id = meta["env"]
    model._setup_model()
    model.state = _restore(model.state, arrays, "state", path)
    model.policy.set_mean(_restore(model.policy.params, arrays, "policy", path), _moments(arrays, "policy_moments"))
    model.moments = _moments(arrays, "moments")
    model.generation, model.num_timesteps = meta["generation"], meta["num_timesteps"]
    model._total_timesteps = meta["total_timesteps"]
    model.best_mean_reward = meta["best_mean_reward"]
    kinds = {name: int if kind == "int" else float for name, kind in meta["history"].items()}
    model.history = [
        {
            name: kind(arrays[f"history/{name}"][i])
            for name, kind in kinds.items()
            if not np.isnan(arrays[f"history/{name}"][i])
        }
        for i in range(meta["generation"])
    ]
    return model


def check_writer(meta: dict[str, Any], cls: type, path: Any) -> None:
    """`CheckpointError` unless a model of this class wrote the file."""
    if meta["algorithm"] != cls.__name__:
        raise CheckpointError(f"'{path}' was written by {meta['algorithm']}; load it with {meta['algorithm']}.load.")


def with_suffix(path: Any) -> Path:
    path = Path(path)
    return path if path.suffix else path.with_suffix(".zip")


def space_to_json(space: spaces.Space) -> dict[str, Any]:
    """A Box or Discrete space in JSON; bounds that are all the same are written once."""
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n), "start": int(space.start)}
    assert isinstance(space, spaces.Box)
    bounds = {"low": space.low, "high": space.high}
    plain = {name: x.flat[0].item() if (x == x.flat[0]).all() else x.tolist() for name, x in bounds.items()}
    return plain | {"shape": list(space.shape), "dtype": str(space.dtype)}


def space_from_json(data: dict[str, Any]) -> spaces.Space:
    """Undo `space_to_json`."""
    if "n" in data:
        return spaces.Discrete(data["n"], start=data["start"])
    dtype = np.dtype(data["dtype"])
    shape = data.get("shape", np.shape(data["low"]))
    low, high = (np.full(shape, data[name], dtype) for name in ("low", "high"))
    return spaces.Box(low, high, dtype=dtype.type)


def _restore(like: Any, arrays: dict[str, np.ndarray], prefix: str, path: Any) -> Any:
    """The pytree `like` with its leaves read from the file."""
    leaves, structure = jax.tree.flatten(like)
    read = [arrays.get(f"{prefix}/{i}") for i in range(len(leaves))]
    for old, new in zip(leaves, read, strict=True):
        if new is None or new.shape != old.shape or new.dtype != old.dtype:
            raise CheckpointError(f"'{path}' does not fit the network and optimiser that it names.")
    return jax.tree.unflatten(structure, [jnp.asarray(x) for x in read])


def _moments(arrays: dict[str, np.ndarray], name: str) -> Moments:
    return Moments(float(arrays[f"{name}/count"][0]), arrays[f"{name}/mean"], arrays[f"{name}/m2"])
