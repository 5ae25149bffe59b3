"""From the description of an experiment to its runs."""

import dataclasses
import json
import re
import types
import typing
from typing import Any

from policies.names import choose, nearest
from trainers.config import parse_yaml
from trainers.experiment.commands import COMMANDS
from trainers.experiment.reading import Description
from trainers.make_env import find_env_id

KEYS = ("name", "seeds", "environments", "algorithms", "common", "per_environment")
OURS = ("env", "seed", "resume", "folder", "log_folder", "progress")
"""Options of a run that its place in the grid decides."""
UNLIMITED = 10**9
"""Generations of a run that n_timesteps ends."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One cell of the grid.

    :param label: of the algorithm in the experiment
    :param algorithm: a name in `COMMANDS`
    :param options: of that command, besides environment and seed
    """

    label: str
    env: str
    seed: int
    algorithm: str
    options: dict[str, Any]

    @property
    def path(self) -> str:
        """Its folder in that of the experiment."""
        return f"{self.label}/{self.env}/seed_{self.seed}"

    @property
    def words(self) -> list[str]:
        """Its flags. Where `n_timesteps` is said and `generations` is not, the steps alone end the run."""
        unlimited = {"generations": UNLIMITED} if "n_timesteps" in self.options else {}
        return to_words({"env": self.env, "seed": self.seed} | unlimited | self.options)


def expand(description: Description) -> list[Run]:
    """All runs, the seeds of an environment next to each other; ValueError with file, line and key for what is wrong.

    An option of an algorithm overrides `common`, and `per_environment` overrides both, because it is the exception; it may
    name environments that are not in this grid.
    """
    values = description.values
    for key in values:
        if key not in KEYS:
            raise ValueError(f"{description.place(key)}: unknown key '{key}'. {nearest(key, KEYS)}")
    for key in ("name", "seeds", "environments", "algorithms"):
        if not values.get(key):
            raise ValueError(f"{description.place(key)}: an experiment needs {key}.")
    _check_name(description, values["name"], "name")
    seeds = _distinct(description, "seeds", int)
    envs = {_env_id(description, name, "environments"): None for name in _distinct(description, "environments", str)}
    exceptions = {
        _env_id(description, name, "per_environment", name): name for name in _mapping(description, "per_environment")
    }
    runs = []
    for label in _mapping(description, "algorithms"):
        _check_name(description, label, "algorithms", label)
        for env in envs:
            algorithm, options = _options(description, label, exceptions.get(env))
            runs += [Run(label, env, seed, algorithm, options) for seed in seeds]
            try:
                COMMANDS[algorithm].parse(runs[-1].words)
            except ValueError as error:
                raise ValueError(f"{description.place('algorithms', label)}: {label} on {env}: {error}") from error
    return runs


def to_words(options: dict[str, Any]) -> list[str]:
    """Flags of a command that say the same as the options."""
    words = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif name == "variants":
            words += [f"--{flag}", ",".join(f"{key}={','.join(map(_inline, x))}" for key, x in value.items())]
        elif isinstance(value, tuple):
            words += [f"--{flag}", *map(str, value)]
        elif isinstance(value, dict):
            words += [f"--{flag}", *(f"{key}:{_inline(x)}" for key, x in value.items())]
        else:
            words += [f"--{flag}", str(value)]
    return words


def _inline(value: Any) -> str:
    """YAML in one line; a string without quotes where it reads the same."""
    if isinstance(value, str) and parse_yaml(value) == value and not re.search(r"[,\[\]{}]", value):
        return value
    return json.dumps(value)


def _options(description: Description, label: str, exception: str | None) -> tuple[str, dict[str, Any]]:
    """The algorithm of a label and its options in an environment."""
    own = dict(_mapping(description, "algorithms", label))
    if "algorithm" not in own:
        raise ValueError(f"{description.place('algorithms', label)}: {label} needs an algorithm: {', '.join(COMMANDS)}.")
    algorithm = str(own.pop("algorithm"))
    try:
        cls = choose("algorithm", algorithm, COMMANDS).config
    except ValueError as error:
        raise ValueError(f"{description.place('algorithms', label, 'algorithm')}: {error}") from None
    levels = [("common",), ("algorithms", label)] + ([("per_environment", exception)] if exception else [])
    options: dict[str, Any] = {}
    for keys in levels:
        level = own if keys == ("algorithms", label) else _mapping(description, *keys)
        for name, value in level.items():
            value = check_option(cls, algorithm, str(name), value, description.place(*keys, str(name)))
            merges = name.endswith("_kwargs") and name in options
            options[name] = options[name] | value if merges else value
    return algorithm, options


def check_option(cls: type[Any], algorithm: str, name: str, value: Any, place: str) -> Any:
    """The value, a whole float as an integer where one is needed; ValueError unless the algorithm has such an option."""
    known = [f.name for f in dataclasses.fields(cls) if f.name not in OURS]
    if name in OURS:
        raise ValueError(f"{place}: {name} is decided by the experiment; leave it out.")
    if name not in known:
        raise ValueError(f"{place}: {algorithm} has no option '{name}'. {nearest(name, known)}")
    hint = typing.get_type_hints(cls)[name]
    if isinstance(value, list) and typing.get_origin(hint) is tuple:
        value = tuple(value)
    if not _fits(value, hint) and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not _fits(value, hint):
        wanted = getattr(hint, "__name__", str(hint)) if not isinstance(hint, types.UnionType) else str(hint)
        raise ValueError(f"{place}: {name} is {value!r}, but must be {wanted}.")
    return value


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(hint, types.UnionType):
        return any(_fits(value, part) for part in hint.__args__)
    kind = typing.get_origin(hint) or hint
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _mapping(description: Description, *keys: str) -> dict[str, Any]:
    """The dictionary at a path of keys, {} for one that is missing or empty."""
    value: Any = description.values
    for key in keys:
        value = (value or {}).get(key) or {}
        if not isinstance(value, dict):
            raise ValueError(f"{description.place(*keys)}: {'.'.join(keys)} must hold keys and values, but is {value!r}.")
    return {str(name): x for name, x in value.items()}


def _distinct(description: Description, key: str, kind: type) -> list[Any]:
    values = description.values[key]
    right = isinstance(values, list) and all(type(value) is kind for value in values)
    if not right or len(set(values)) < len(values) or (kind is int and min(values) < 0):
        what = "names" if kind is str else "whole numbers from 0 on"
        raise ValueError(f"{description.place(key)}: {key} must be a list of different {what}, but is {values!r}.")
    return list(values)


def _env_id(description: Description, name: str, *keys: str) -> str:
    try:
        return find_env_id(name)
    except ValueError as error:
        raise ValueError(f"{description.place(*keys)}: {error}") from None


def _check_name(description: Description, name: Any, *keys: str) -> None:
    """Names become folders."""
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w .+=-]*", name):
        raise ValueError(f"{description.place(*keys)}: '{name}' cannot name a folder; use letters, digits, spaces and _.+=-.")
