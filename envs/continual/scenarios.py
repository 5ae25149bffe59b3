"""Sequences of tasks that are learned one after the other, as data.

`load_scenario("ant/forgetting")` reads one that this suite has (`scenario_names()`), `load_scenario("my.yml")` one of one's
own, a YAML file in the form of the entries of `scenarios.yml`:

    env: DamagedAnt-v0              # the environment's id
    tasks:                          # in order; each a value of `argument` (a string or a number), or a mapping:
      - normal
      - gravity=0.5+friction=0.4
      - {name: broken, env: DamagedAnt-v0, env_kwargs: {damage: front_left_leg}}
    argument: perturbation          # which argument of the environment the tasks are values of; or damage, task, ...
    env_kwargs: {horizon: 1000}     # further arguments of every task
    repeat: 2                       # the tasks are gone through so many times (1)
    n_timesteps: 1_000_000          # environment steps of a task
    max_episode_steps: 1000         # steps after which an episode is truncated
    metric: return                  # what performance is: return or success

Only `env` and `tasks` are needed; the values above are the defaults of the others, but for `repeat` and `env_kwargs`. A
task that is a mapping has its own `env_kwargs` on top of those of all, and takes `env` from the scenario if it has none.
"""

import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import yaml

import envs  # noqa: F401  (registers the ids)
from envs.continual.perturb import check_fidelity, find_plan, parse_perturbation
from envs.damage import _nearest

METRICS = ("return", "success")
DEFAULTS: dict[str, Any] = {
    "argument": "perturbation",
    "env_kwargs": {},
    "repeat": 1,
    "n_timesteps": 1_000_000,
    "max_episode_steps": 1000,
    "metric": "return",
}


@dataclass(frozen=True)
class Task:
    """An environment of a scenario: `gymnasium.make(task.env_id, max_episode_steps=..., **task.env_kwargs)`."""

    name: str
    env_id: str
    env_kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Scenario:
    """Tasks that are learned one after the other.

    :param tasks: in order, repetitions written out; tasks of the same name are the same
    :param n_timesteps: environment steps of each task
    :param metric: what performance in a task is, "return" or "success"
    :param max_episode_steps: steps after which an episode is truncated
    """

    name: str
    tasks: tuple[Task, ...]
    n_timesteps: int
    metric: str
    max_episode_steps: int


def scenario_names() -> tuple[str, ...]:
    """Names of the scenarios of this suite."""
    return tuple(_library())


def load_scenario(
    name_or_path: str,
    *,
    physics: str | None = None,
    fidelity: str | None = None,
    n_timesteps: int | None = None,
    max_episode_steps: int | None = None,
    repeat: int | None = None,
) -> Scenario:
    """A scenario by its name, or of a YAML file (see the module).

    :param name_or_path: such as "ant/forgetting" or "my.yml"
    :param physics: of Brax's robots, "v1", "generalized", "spring", "positional" or "mjx"; or "mujoco", Gymnasium's robots
        (`Damaged...-v0`). Returns are not comparable between them.
    :param fidelity: of the perturbations, "corrected" or "original"
    :param n_timesteps, max_episode_steps, repeat: instead of the scenario's own
    :raises ValueError: in one sentence that names the file and the key
    :raises FileNotFoundError: for a file that is not there
    """
    if is_file(name_or_path):
        entry, where = _read(Path(name_or_path).read_text(), name_or_path), name_or_path
        name = Path(name_or_path).stem
    else:
        library = _library()
        if name_or_path not in library:
            near = _nearest(name_or_path, library)
            raise ValueError(
                f"Unknown scenario '{name_or_path}'.{near} Known: {', '.join(library)}, or a path to a .yml file."
            )
        entry, where, name = library[name_or_path], f"Scenario {name_or_path}", name_or_path
    given = {"n_timesteps": n_timesteps, "max_episode_steps": max_episode_steps, "repeat": repeat}
    scenario = _build(name, entry, where, {key: value for key, value in given.items() if value is not None})
    tasks = scenario.tasks
    if physics is not None:
        tasks = tuple(_under(task, physics) for task in tasks)
    if fidelity is not None:
        check_fidelity(fidelity)
        if not any("perturbation" in task.env_kwargs for task in tasks):
            raise ValueError(f"{where}: no task has a perturbation, so fidelity='{fidelity}' has no meaning.")
        tasks = tuple(_with_fidelity(task, fidelity) for task in tasks)
    return replace(scenario, tasks=tasks)


def is_file(name_or_path: str) -> bool:
    """Whether it names a file, not a scenario of this suite."""
    return name_or_path.endswith((".yml", ".yaml"))


def _library() -> dict[str, Any]:
    return _read((importlib.resources.files("envs.continual") / "scenarios.yml").read_text(), "scenarios.yml")


def _read(text: str, where: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{where} must be a mapping with the keys env and tasks, but is {content!r}.")
    return content


def _build(name: str, entry: Any, where: str, given: dict[str, int]) -> Scenario:
    known = ("env", "tasks", *DEFAULTS)
    _check_keys(entry, known, where)
    for key in ("env", "tasks"):
        if key not in entry:
            raise ValueError(f"{where}: the key '{key}' is missing.")
    values = DEFAULTS | entry | given
    for key in ("repeat", "n_timesteps", "max_episode_steps"):
        if not isinstance(values[key], int) or isinstance(values[key], bool) or values[key] < 1:
            raise ValueError(f"{where}: {key} must be a whole number of at least 1, but is {values[key]!r}.")
    if values["metric"] not in METRICS:
        raise ValueError(f"{where}: metric must be {' or '.join(METRICS)}, but is {values['metric']!r}.")
    if not isinstance(values["env_kwargs"], dict):
        raise ValueError(f"{where}: env_kwargs must be a mapping, but is {values['env_kwargs']!r}.")
    if not isinstance(values["tasks"], list) or not values["tasks"]:
        raise ValueError(f"{where}: tasks must be a list of at least one task, but is {values['tasks']!r}.")
    tasks = tuple(_task(task, values, f"{where}: tasks[{i}]") for i, task in enumerate(values["tasks"]))
    return Scenario(name, values["repeat"] * tasks, values["n_timesteps"], values["metric"], values["max_episode_steps"])


def _task(task: Any, values: dict[str, Any], where: str) -> Task:
    if isinstance(task, str | int | float):
        task = {"name": str(task), "env_kwargs": {values["argument"]: task}}
    elif not isinstance(task, dict):
        raise ValueError(f"{where} must be a string, a number or a mapping, but is {task!r}.")
    _check_keys(task, ("name", "env", "env_kwargs"), where)
    if not isinstance(task.get("name"), str):
        raise ValueError(f"{where}: the key 'name' is missing, or not a string.")
    env_id, own = task.get("env", values["env"]), task.get("env_kwargs", {})
    if env_id not in gymnasium.registry:
        raise ValueError(f"{where}: unknown environment '{env_id}'.{_nearest(env_id, gymnasium.registry)}")
    if not isinstance(own, dict):
        raise ValueError(f"{where}: env_kwargs must be a mapping, but is {own!r}.")
    kwargs = values["env_kwargs"] | own
    if "perturbation" in kwargs:
        try:
            parse_perturbation(kwargs["perturbation"], _robot(env_id))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return Task(task["name"], env_id, kwargs)


def _check_keys(entry: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must be a mapping, but is {entry!r}.")
    for key in entry:
        if key not in known:
            raise ValueError(f"{where}: unknown key '{key}'.{_nearest(key, known)} Known: {', '.join(known)}.")


def _robot(env_id: str) -> str:
    return env_id.removeprefix("Brax").removeprefix("Damaged").removesuffix("-v0")


def _under(task: Task, physics: str) -> Task:
    """The task with another physics."""
    from envs.brax.tasks import PHYSICS

    known = (*PHYSICS, "mujoco")
    if physics not in known:
        raise ValueError(f"Unknown physics '{physics}'.{_nearest(physics, known)} Known: {', '.join(known)}.")
    if not task.env_id.startswith("Brax"):
        raise ValueError(f"The physics can be chosen for Brax's robots only, but task '{task.name}' has {task.env_id}.")
    kwargs = {key: value for key, value in task.env_kwargs.items() if key != "physics"}
    if physics != "mujoco":
        return replace(task, env_kwargs=kwargs | {"physics": physics})
    find_plan(_robot(task.env_id))  # the robots that can be perturbed are those that MuJoCo has
    return Task(task.name, f"Damaged{_robot(task.env_id)}-v0", kwargs)


def _with_fidelity(task: Task, fidelity: str) -> Task:
    if "perturbation" not in task.env_kwargs:
        return task
    return replace(task, env_kwargs={**task.env_kwargs, "fidelity": fidelity})
