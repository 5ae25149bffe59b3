"""The commands whose runs an experiment can be made of."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from trainers import cli
from trainers.config import CONFIGS
from trainers.offline import config as offline


class Command(NamedTuple):
    """A command that leaves a run's folder.

    :param config: dataclass of its options
    :param parse: its flags -> config; ValueError for what is wrong
    :param words: what follows `python -m`
    """

    config: type[Any]
    parse: Callable[[list[str]], Any]
    words: tuple[str, ...]


COMMANDS: dict[str, Command] = {
    name: Command(cls, functools.partial(cli.parse, name), (f"trainers.{name}",)) for name, cls in CONFIGS.items()
} | {"offline": Command(offline.TrainConfig, offline.parse, ("trainers.offline", "train"))}
