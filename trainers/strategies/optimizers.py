"""Any optax optimiser by name, its learning rate set anew each generation."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def make_optimizer(name: str, **kwargs: Any) -> optax.GradientTransformationExtraArgs:
    """`optax.<name>(learning_rate=..., **kwargs)` with the learning rate as part of its state.

    ValueError names the nearest optimiser when optax has none of that name that takes a learning rate, and when the
    optimiser refuses a keyword.
    """
    factory = find_optimizer(name)
    try:
        return optax.inject_hyperparams(factory)(learning_rate=0.0, **kwargs)
    except TypeError as error:
        raise ValueError(f"optax.{name} refuses optimizer_kwargs={kwargs}: {error}.") from error


def find_optimizer(name: str) -> Callable[..., Any]:
    """`optax.<name>`; ValueError with the nearest name when optax has none of that name that takes a learning rate."""
    factory = getattr(optax, name, None)
    if not callable(factory) or "learning_rate" not in inspect.signature(factory).parameters:
        known = [n for n in dir(optax) if _takes_learning_rate(getattr(optax, n))]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ValueError(f"Unknown optimizer '{name}'. Did you mean '{near}'? Known: {', '.join(known)}.")
    return factory


def descend(
    optimizer: optax.GradientTransformationExtraArgs,
    opt_state: Any,
    params: Any,
    gradient: Any,
    learning_rate: jax.Array,
    weight_decay: float,
) -> tuple[Any, Any]:
    """One step down `gradient` with decoupled weight decay: (new params, new optimiser state)."""
    hyperparams = opt_state.hyperparams | {"learning_rate": jnp.asarray(learning_rate, jnp.float32)}
    opt_state = opt_state._replace(hyperparams=hyperparams)
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    decayed = jax.tree.map(lambda u, p: u - learning_rate * weight_decay * p, updates, params)
    return optax.apply_updates(params, decayed), opt_state


def _takes_learning_rate(value: Any) -> bool:
    return inspect.isfunction(value) and "learning_rate" in inspect.signature(value).parameters
