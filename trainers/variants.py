"""One environment in several variants, over which the fitness of a network is taken."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from trainers.make_env import make_vec_env

FITNESS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda returns: returns.mean(axis=0),
    "min": lambda returns: returns.min(axis=0),
}
"""Name -> mean returns in each variant (V, ...) to fitness (...); NaN in one variant is NaN."""


class Variants(NamedTuple):
    """Values of a keyword argument of an environment, each of which makes a variant of it; none by default."""

    argument: str = ""
    values: tuple[Any, ...] = ()

    @staticmethod
    def of(table: Mapping[str, Sequence[Any]] | None) -> "Variants":
        """Of {argument: values}; ValueError unless that is one argument with values that differ."""
        if not table:
            return Variants()
        if len(table) > 1:
            raise ValueError(f"variants are of one argument, but these are of {', '.join(table)}.")
        ((argument, values),) = table.items()
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ValueError(f"variants of {argument} must be a list of values, but are {values!r}.")
        variants = Variants(argument, tuple(values))
        if len(set(variants.names)) < len(values):
            raise ValueError(f"variants of {argument} must differ, but are {', '.join(variants.names)}.")
        return variants

    @property
    def table(self) -> dict[str, list[Any]] | None:
        """Undo `of`."""
        return {self.argument: list(self.values)} if self.values else None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the variants, as they are logged."""
        return tuple(map(str, self.values))

    def env_kwargs(self, others: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Keyword arguments of each variant, or the others alone when there are no variants."""
        if self.argument in others:
            raise ValueError(f"{self.argument} is varied already; leave {self.argument} out of env_kwargs.")
        return [{**others, self.argument: value} for value in self.values] or [dict(others)]

    def make_envs(self, env: Any, n_envs: int, seed: int, env_kwargs: Mapping[str, Any], vec_env: str) -> list[VecEnv]:
        """A VecEnv of each variant (see `make_vec_env`).

        ValueError when there are variants but no id to make them from, and when their spaces differ.
        """
        if self.values and not isinstance(env, str):
            raise ValueError(f"Variants of {self.argument} are made from an environment's id; give an id, or variants=None.")
        envs = [make_vec_env(env, n_envs, seed, kwargs, vec_env) for kwargs in self.env_kwargs(env_kwargs)]
        for name, other in zip(self.names, envs, strict=False):
            for what in ("observation_space", "action_space"):
                first, this = getattr(envs[0], what), getattr(other, what)
                if this != first:
                    raise ValueError(
                        f"Variants must have the same spaces, but the {what} with {self.argument}={self.names[0]} is "
                        f"{first}, and with {self.argument}={name} {this}."
                    )
        return envs
