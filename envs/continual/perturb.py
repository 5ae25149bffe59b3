"""What is different about a robot in a task: a plain description that every robot and simulator of the suite understands.

A perturbation is written as a string, so that it fits into YAML, a command line or `gymnasium.make`:

    "normal"                                  nothing is different
    "hugefoot"                                a preset of the robot
    "gravity=0.15+friction=0.4"               factors of gravity and of the friction of all contacts
    "body:torso=4"                            4 times the mass and the radius of a part
    "action:front_left_hip=0"                 a factor of what is commanded to a joint: 0 disabled, -1 inverted
    "mask:front_left_hip"                     what the observation says of a joint reads zero
    "mask:front_left_hip.angle+mask:v_x"      so do single channels
    "tinyfoot+moon"                           all of these; factors of the same thing multiply

or as a dictionary `{"gravity": 0.15, "bodies": {"torso": 4}, "actions": {"front_left_hip": 0}, "masked": ["v_x"]}`.

Parts, joints and sensors have the names that damage has (`envs.damage`), `torso` and, for the humanoid, `lower_waist` and
`pelvis` in addition. Names mean the same in every simulator, whatever its order of actions and observations.

| Channel | What it is |
|---|---|
| a joint, `torso` or another sensor | everything that the observation says of it; `torso` is the root |
| `<joint>.angle`, `<joint>.velocity` | one number of a joint |
| `x`, `y`, `z` | position of the root (`x` and `y` are as a rule not observed) |
| `pitch`; `orientation` | its turn: HalfCheetah, Hopper, Walker2d (one number, two in Brax v1's HalfCheetah); a quaternion |
| `v_x`, `v_y`, `v_z`; `w_x`, `w_y`, `w_z` | its velocities (robots in a plane have `v_x`, `v_z` and `w_y`) |

Presets (`envs.continual.robots`) are the tasks of Sun & Mu (NeurIPS 2023), which are those of Gaya et al. (arXiv 2211.10445)
and Humanoid's; Hopper's and Walker2d's are after HalfCheetah's. The ant's `disabled_forefeet` are those of its legs at +y, by
the names here its left ones, and `disabled_backfeet` the right ones. Every environment takes `fidelity` with a perturbation:

* "corrected": friction is what the factor says, and moments of inertia follow the masses (in MuJoCo and current Brax the
  sizes, too).
* "original": as published for Brax v1, where the factor of friction is written into both sides of a contact and so acts
  squared, and moments of inertia stay as they are. Elsewhere this is the nearest equal: the factor squared, and the
  moments of inertia of the robot as it was.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from envs.continual.robots import PLANS, Plan
from envs.damage import _nearest

FIDELITIES: tuple[str, ...] = ("corrected", "original")
Factors = Mapping[str, float] | tuple[tuple[str, float], ...]

_TERM = re.compile(r"(?:(?P<kind>\w+):)?(?P<name>[\w.]+)(?:=(?P<value>.+))?")


@dataclass(frozen=True)
class Perturbation:
    """What is different about a robot and its world, whatever the simulator.

    Factors that are 1 are left out, names are sorted: equal perturbations are equal, and have the same hash.

    :param gravity: factor of gravity, 0 or more
    :param friction: factor of the sliding friction of all contacts, 0 or more
    :param bodies: part -> factor of its mass and radius, positive; pairs or a mapping
    :param actions: joint -> factor of what is commanded to it, in [-1, 1]; pairs or a mapping
    :param masked: channels of the observation that read zero
    """

    gravity: float = 1.0
    friction: float = 1.0
    bodies: Factors = ()
    actions: Factors = ()
    masked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("gravity", "friction"):
            factor = _number(f"The factor of {name}", getattr(self, name), "0 or more", lambda x: x >= 0)
            object.__setattr__(self, name, factor)
        checks = {"bodies": ("part", "positive", lambda x: x > 0), "actions": ("joint", "in [-1, 1]", lambda x: -1 <= x <= 1)}
        for name, (what, allowed, check) in checks.items():
            given: Any = getattr(self, name)
            try:
                pairs = dict(given)
            except (TypeError, ValueError):
                raise ValueError(f"'{name}' must map each {what} to a factor, but is {given!r}.") from None
            factors = {key: _number(f"The factor of '{key}'", value, allowed, check) for key, value in pairs.items()}
            object.__setattr__(self, name, tuple(sorted((key, x) for key, x in factors.items() if x != 1)))
        masked: Any = self.masked
        if not isinstance(masked, list | tuple) or not all(isinstance(channel, str) for channel in masked):
            raise ValueError(f"'masked' must be a list of channels, but is {masked!r}.")
        object.__setattr__(self, "masked", tuple(sorted(set(masked))))

    def __str__(self) -> str:
        terms = [f"{name}={getattr(self, name):g}" for name in ("gravity", "friction") if getattr(self, name) != 1]
        terms += [f"body:{part}={factor:g}" for part, factor in dict(self.bodies).items()]
        terms += [f"action:{joint}={factor:g}" for joint, factor in dict(self.actions).items()]
        return "+".join([*terms, *(f"mask:{channel}" for channel in self.masked)]) or "normal"

    @property
    def changes_physics(self) -> bool:
        """Whether more than actions and observations are different."""
        return self.gravity != 1 or self.friction != 1 or bool(self.bodies)

    def to_dict(self) -> dict[str, Any]:
        """Plain values without what is as usual; `Perturbation(**d)` is the same."""
        values: dict[str, Any] = {"gravity": self.gravity, "friction": self.friction}
        values |= {"bodies": dict(self.bodies), "actions": dict(self.actions), "masked": list(self.masked)}
        usual = {"gravity": 1.0, "friction": 1.0}
        return {name: value for name, value in values.items() if value != usual.get(name) and value not in ({}, [])}

    def gains(self, joints: Iterable[str]) -> np.ndarray:
        """Factors of the actions of joints in this order (A,)."""
        factors = dict(self.actions)
        return np.array([factors.get(joint, 1.0) for joint in joints])

    def hidden(self, layout: Mapping[str, np.ndarray], size: int) -> np.ndarray:
        """Which numbers of an observation read zero, bool (size,).

        :param layout: where each channel is
        :raises ValueError: for a channel that the observation does not have
        """
        hidden = np.zeros(size, bool)
        for channel in self.masked:
            if channel not in layout:
                raise ValueError(
                    f"'mask:{channel}': the observation has no '{channel}' with these arguments; it has {', '.join(layout)}."
                )
            hidden[layout[channel]] = True
        return hidden


def parse_perturbation(description: Any, robot: str) -> Perturbation:
    """Read a description of a perturbation (see the module) for a robot.

    :param description: a string, a dictionary, a `Perturbation`, or None for nothing different
    :param robot: "HalfCheetah", "Ant", "Humanoid", "Hopper" or "Walker2d", in upper or lower case
    :raises ValueError: for unknown names, values out of range and other robots
    """
    plan = find_plan(robot)
    if description is None:
        return Perturbation()
    if isinstance(description, str):
        return _from_string(description, plan)
    if isinstance(description, Mapping):
        known = [f.name for f in fields(Perturbation)]
        for key in description:
            if key not in known:
                raise ValueError(f"Unknown key '{key}' of a perturbation.{_nearest(key, known)} Known: {', '.join(known)}.")
        return _known(Perturbation(**description), plan)
    if isinstance(description, Perturbation):
        return _known(description, plan)
    raise ValueError(f"A perturbation must be a string, a dictionary or None, but is {description!r}.")


def find_plan(robot: str) -> Plan:
    """What can be perturbed about a robot, by its name. ValueError for an unknown one."""
    names = {name.lower(): name for name in PLANS}
    if robot.lower() not in names:
        raise ValueError(f"{robot} cannot be perturbed.{_nearest(robot, PLANS)} Robots that can: {', '.join(PLANS)}.")
    return PLANS[names[robot.lower()]]


def check_fidelity(fidelity: str) -> None:
    """ValueError for an unknown fidelity."""
    if fidelity not in FIDELITIES:
        raise ValueError(f"Unknown fidelity '{fidelity}'.{_nearest(fidelity, FIDELITIES)} Known: {', '.join(FIDELITIES)}.")


def _from_string(text: str, plan: Plan) -> Perturbation:
    whole = Perturbation()
    for term in filter(None, (term.strip() for term in text.split("+"))):
        whole = _together(whole, _from_term(term, plan))
    return whole


def _from_term(term: str, plan: Plan) -> Perturbation:
    robot, kinds = plan.anatomy.robot, ("body", "action", "mask")
    match = _TERM.fullmatch(term)
    if match is None:
        raise ValueError(
            f"Cannot read perturbation '{term}'. Write a preset, gravity=factor, friction=factor, body:part=factor, "
            f"action:joint=factor or mask:channel."
        )
    kind, name, value = match["kind"], match["name"], match["value"]
    if kind not in (None, *kinds):
        raise ValueError(f"Unknown kind of perturbation '{kind}'.{_nearest(kind, kinds)} Known: {', '.join(kinds)}.")
    if kind is None and name in plan.presets:
        if value is not None:
            raise ValueError(f"'{name}' takes no value, but {value} was given.")
        return _from_string(plan.presets[name], plan)
    if kind is None and name not in ("gravity", "friction"):
        known = [*plan.presets, "gravity", "friction"]
        raise ValueError(f"{robot} has no perturbation '{name}'.{_nearest(name, known)} Known: {', '.join(known)}.")
    if kind == "mask":
        if value is not None:
            raise ValueError(f"'mask:{name}' takes no value, but {value} was given.")
        return _known(Perturbation(masked=(name,)), plan)
    try:
        factor = float(value or "")
    except ValueError:
        raise ValueError(f"'{term}' needs a factor that is a number, such as '{term.split('=')[0]}=0.5'.") from None
    if kind is None:
        return Perturbation(gravity=factor) if name == "gravity" else Perturbation(friction=factor)
    part = ((name, factor),)
    return _known(Perturbation(bodies=part) if kind == "body" else Perturbation(actions=part), plan)


def _together(a: Perturbation, b: Perturbation) -> Perturbation:
    """Both at once: factors multiply."""

    def product(x: Factors, y: Factors) -> tuple[tuple[str, float], ...]:
        left, right = dict(x), dict(y)
        return tuple((name, left.get(name, 1.0) * right.get(name, 1.0)) for name in left | right)

    bodies, actions = product(a.bodies, b.bodies), product(a.actions, b.actions)
    return Perturbation(a.gravity * b.gravity, a.friction * b.friction, bodies, actions, a.masked + b.masked)


def _known(perturbation: Perturbation, plan: Plan) -> Perturbation:
    """The perturbation with the own names of parts, joints and channels."""
    bodies = {_find(part, "part", plan.parts, plan): factor for part, factor in dict(perturbation.bodies).items()}
    actions = {_find(j, "joint", plan.anatomy.joints, plan): factor for j, factor in dict(perturbation.actions).items()}
    masked = tuple(_find(channel, "channel", plan.channels, plan) for channel in perturbation.masked)
    return Perturbation(perturbation.gravity, perturbation.friction, bodies, actions, masked)


def _find(name: str, what: str, known: Iterable[str], plan: Plan) -> str:
    joint, dot, end = str(name).partition(".")
    name = plan.anatomy.aliases.get(joint, joint) + dot + end
    if name not in known:
        listed = ", ".join(k for k in known if "." not in k)
        if what == "channel":
            listed += ", and .angle and .velocity of each joint"
        raise ValueError(f"{plan.anatomy.robot} has no {what} '{name}'.{_nearest(name, known)} Known: {listed}.")
    return name


def _number(subject: str, x: Any, allowed: str, check: Any) -> float:
    if not isinstance(x, int | float) or isinstance(x, bool) or not math.isfinite(x) or not check(x):
        raise ValueError(f"{subject} must be {allowed}, but is {x!r}.")
    return float(x) + 0.0  # not -0
