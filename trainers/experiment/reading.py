"""YAML files of experiments, with includes and with the place of every key, so that an error can name file and line."""

from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from policies.names import nearest

Keys = tuple[str, ...]


class Description:
    """What a file says, its includes and the command line merged in.

    :param values: plain dictionaries, lists and values
    :param places: path of keys -> "file:line"
    """

    def __init__(self, values: dict[str, Any], places: dict[Keys, str], source: str) -> None:
        self.values, self.places, self.source = values, places, source

    def place(self, *keys: str) -> str:
        """Where a key, or the nearest one above it, is written."""
        for n in range(len(keys), 0, -1):
            if keys[:n] in self.places:
                return self.places[keys[:n]]
        return self.source


def find_file(name: str, folder: str) -> Path:
    """A path, or the name of a file in zoo_configs/<folder>; ValueError names the nearest of these."""
    if Path(name).is_file():
        return Path(name)
    shipped = {
        path.name.removesuffix(".yml"): Path(str(path)) for path in resources.files("zoo_configs").joinpath(folder).iterdir()
    }
    if name.removesuffix(".yml") not in shipped:
        raise ValueError(f"There is no file '{name}', and none of that name in zoo_configs/{folder}. {nearest(name, shipped)}")
    return shipped[name.removesuffix(".yml")]


def read(path: Path, overrides: Sequence[str] = ()) -> Description:
    """The file with what it includes beneath it and `overrides` ("common.generations=10") above it."""
    tree, places = _read(path, ())
    for word in overrides:
        if "=" not in word:
            raise ValueError(f"'{word}' is not of the form key.key=value.")
        keys = tuple(word.split("=", 1)[0].split("."))
        places |= {keys[:n]: "command line" for n in range(len(keys), 0, -1) if n == len(keys) or keys[:n] not in places}
    try:
        values = OmegaConf.to_container(_over(tree, OmegaConf.from_dotlist(list(overrides))), resolve=True)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}.") from error
    assert isinstance(values, dict)
    return Description({str(key): value for key, value in values.items()}, places, str(path))


def _read(path: Path, including: tuple[Path, ...]) -> tuple[DictConfig, dict[Keys, str]]:
    if path.resolve() in including:
        cycle = " -> ".join(p.name for p in (*including[including.index(path.resolve()) :], path))
        raise ValueError(f"{including[-1]}: a cycle of includes, {cycle}.")
    try:
        text = path.read_text()
        own = OmegaConf.create(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"{path}:{line}: {error.problem}.") from error
    except OSError as error:
        raise ValueError(f"{including[-1]}: the included file '{path}' cannot be read.") from error
    if not isinstance(own, DictConfig) or node is None:
        raise ValueError(f"{path} must hold keys and values, such as 'seeds: [0, 1, 2]'.")
    included = own.pop("include", [])
    tree, places = OmegaConf.create({}), dict[Keys, str]()
    for name in included if isinstance(included, (list, ListConfig)) else [included]:
        below, its_places = _read(path.parent / str(name), (*including, path.resolve()))
        tree = _over(tree, below)
        places |= its_places
    places |= dict(_places(node, path.name, ()))
    return _over(tree, own), places


def _over(below: DictConfig, above: DictConfig) -> DictConfig:
    merged = OmegaConf.merge(below, above)
    assert isinstance(merged, DictConfig)
    return merged


def _places(node: yaml.Node, file: str, above: Keys) -> Iterator[tuple[Keys, str]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*above, str(key.value)), f"{file}:{key.start_mark.line + 1}"
            yield from _places(value, file, (*above, str(key.value)))
