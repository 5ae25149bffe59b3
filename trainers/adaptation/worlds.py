"""The environments of a study: one set of options, and what differs from it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from envs.brax.tasks import find_task
from trainers.config import parse_yaml
from trainers.make_env import make_vec_env


@dataclass(frozen=True)
class World:
    """An environment by its id and options."""

    env_id: str
    env_kwargs: dict[str, Any]

    def but(self, **env_kwargs: Any) -> "World":
        """The same with other options."""
        return World(self.env_id, self.env_kwargs | env_kwargs)

    @contextlib.contextmanager
    def open(self, n_envs: int) -> Iterator[VecEnv]:
        """`n_envs` of these environments, which are closed in the end; ValueError for options that they do not have."""
        venv = make_vec_env(self.env_id, n_envs, 0, self.env_kwargs)
        if find_task(self.env_id) is not None:
            from envs.brax.vec_env import BraxVecEnv

            assert isinstance(venv, BraxVecEnv)
            venv = BraxVecEnv(venv.task, n_envs)
        try:
            yield venv
        finally:
            venv.close()


def horizon_of(venv: VecEnv) -> int | None:
    """Steps of the longest possible episode; None where there is no limit of time."""
    if hasattr(venv, "task"):
        return int(venv.task.max_episode_steps)
    spec = venv.get_attr("spec")[0]
    return None if spec is None else spec.max_episode_steps


def read_variants(words: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Names of variants, "damage=front_left_short", with the option that each changes.

    :param words: "damage=none,front_left_short": an option and its values
    """
    variants: dict[str, dict[str, Any]] = {}
    for word in words:
        option, sign, values = word.partition("=")
        if not sign or not option.isidentifier() or not all(values.split(",")):
            raise ValueError(
                f"'{word}' is not of the form option=value,value; write damage=none,front_left_short, for example."
            )
        variants |= {f"{option}={value}": {option: parse_yaml(value)} for value in values.split(",")}
    return variants


def scheduled(damage: str, at: int) -> str:
    """Damage that begins with step `at`."""
    return "+".join(f"{part.strip()}@{at}" for part in damage.split("+"))
