"""What is broken on a robot, and when: a plain description that every robot and simulator of the suite understands.

Damage is written as a string, so that it fits into YAML, a command line or `gymnasium.make`:

    "none"                                    nothing is broken
    "front_left_leg"                          a limb by its name: it is removed
    "front_left_short"                        a preset of the robot
    "shorten:front_left_foot=0.25"            kind:part=value
    "weaken:front_left_ankle=0.5@100"         from step 100 of the episode on
    "lock:front_left_hip@100..300"            from a random step between 100 and 300 (inclusive) on
    "dead:front_left_hip@0/50:20"             from step 0 on, during the first 20 of every 50 steps
    "remove:front_left_leg+noisy:torso=0.1"   both

or as dictionaries `{"kind": "weaken", "part": "front_left_ankle", "value": 0.5, "start": 100}` and lists of these. A
mapping from damage to probability, `{"none": 0.5, "front_left_leg": 0.5}`, is drawn from anew in each episode.
"""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

KINDS: dict[str, tuple[str, float | None]] = {
    "remove": ("limb", None),
    "shorten": ("limb", 0.25),
    "lock": ("joint", None),
    "slack": ("joint", None),
    "weaken": ("joint", 0.5),
    "dead": ("sensor", None),
    "stuck": ("sensor", None),
    "noisy": ("sensor", 0.1),
}
"""Kind of damage -> what it happens to, and its value when none is given (None: it takes no value)."""

_PATTERN = re.compile(
    r"(?:(?P<kind>\w+):)?(?P<part>\w+)(?:=(?P<value>[^@]+))?"
    r"(?:@(?P<start>\d+)(?:\.\.(?P<latest>\d+))?(?:/(?P<period>\d+):(?P<active>\d+))?)?"
)


@dataclass(frozen=True)
class Anatomy:
    """The names of a robot's parts, by where they are (front is +x, left is +y).

    :param limbs: limb segment -> the segments and joints that go with it when it is removed, itself included
    :param joints: actuated joints; each is also the name of a sensor, its angle and velocity
    :param sensors: further sensors
    :param presets: name -> damage string
    :param aliases: other name -> name
    """

    robot: str
    limbs: Mapping[str, tuple[str, ...]]
    joints: tuple[str, ...]
    sensors: tuple[str, ...] = ()
    presets: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def parts(self, what: str) -> tuple[str, ...]:
        """Names of the limbs, joints or sensors."""
        return {"limb": tuple(self.limbs), "joint": self.joints, "sensor": (*self.joints, *self.sensors)}[what]

    def find(self, what: str, name: str) -> str:
        """The part's own name; ValueError with the nearest for an unknown one."""
        name = self.aliases.get(name, name)
        known = self.parts(what)
        if name not in known:
            raise ValueError(f"{self.robot} has no {what} '{name}'.{_nearest(name, known)} Known: {', '.join(known)}.")
        return name


@dataclass(frozen=True)
class Fault:
    """One thing that is broken, and when.

    :param kind: a key of `KINDS`: a limb segment removed or shortened to `value` times its length; a joint locked at its
        angle, left slack (no torque) or its actuator weakened to `value` times its torque; a sensor reading zero
        (dead), its last value (stuck) or with Gaussian noise of standard deviation `value` added (noisy)
    :param part: the limb, joint or sensor
    :param start: first step of the episode with the fault (0: before the first action)
    :param latest: when given, the first step is drawn between `start` and `latest`, inclusive, in each episode
    :param period: when given, the fault comes and goes: it is there in the first `active` of every `period` steps
    """

    kind: str
    part: str
    value: float | None = None
    start: int = 0
    latest: int | None = None
    period: int | None = None
    active: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Unknown kind of damage '{self.kind}'.{_nearest(self.kind, KINDS)} Known: {', '.join(KINDS)}.")
        default = KINDS[self.kind][1]
        if self.value is None:
            object.__setattr__(self, "value", default)
        elif default is None:
            raise ValueError(f"'{self.kind}:{self.part}' takes no value, but {self.value} was given.")
        if self.value is not None:
            bound = math.inf if self.kind == "noisy" else 1.0
            least_ok = self.value >= 0 if self.kind == "weaken" else self.value > 0
            if not (least_ok and self.value < bound):
                allowed = {"noisy": "positive", "weaken": "in [0, 1)", "shorten": "in (0, 1)"}[self.kind]
                raise ValueError(f"The value of '{self.kind}:{self.part}' must be {allowed}, but is {self.value}.")
        if self.start < 0 or (self.latest is not None and self.latest < self.start):
            raise ValueError(f"'{self}' must start at step 0 or later, and not after its latest step.")
        if (self.period is None) != (self.active is None):
            raise ValueError(f"'{self.kind}:{self.part}' needs both period and active, or neither.")
        if self.period is not None and self.active is not None and not 0 < self.active < self.period:
            raise ValueError(f"'{self}' must be active for at least 1 and less than {self.period} of {self.period} steps.")

    @property
    def scheduled(self) -> bool:
        """Whether it comes or goes in the course of an episode."""
        return self.start > 0 or self.latest is not None or self.period is not None

    @property
    def name(self) -> str:
        """The fault without its schedule, as in `info["damage"]`."""
        return f"{self.kind}:{self.part}" + ("" if self.value is None else f"={self.value:g}")

    def __str__(self) -> str:
        when = "" if self.latest is None else f"..{self.latest}"
        when += "" if self.period is None else f"/{self.period}:{self.active}"
        return self.name + (f"@{self.start}{when}" if self.start or when else "")

    def draw(self, rng: np.random.Generator) -> "Fault":
        """This fault with its first step fixed."""
        if self.latest is None:
            return self
        return Fault(self.kind, self.part, self.value, int(rng.integers(self.start, self.latest + 1)), None, self.period,
                     self.active)  # fmt: skip

    def is_active(self, step: int) -> bool:
        """Whether it is there in this step of the episode (its first step drawn already)."""
        since = step - self.start
        return since >= 0 and (self.period is None or since % self.period < (self.active or 0))

    def next_change(self, step: int) -> int | None:
        """The first step after this one in which it comes or goes; None when it stays as it is."""
        since = step - self.start
        if since < 0:
            return self.start
        if self.period is None or self.active is None:
            return None
        phase = since % self.period
        return step + (self.active if phase < self.active else self.period) - phase

    def to_dict(self) -> dict[str, Any]:
        """Plain values, from which `Fault(**d)` is the same."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


class Damage(NamedTuple):
    """Faults that an episode may have: each alternative with its probability (one alternative: always that)."""

    alternatives: tuple[tuple[Fault, ...], ...]
    probabilities: tuple[float, ...]

    def draw(self, rng: np.random.Generator) -> tuple[Fault, ...]:
        """The faults of one episode, first steps fixed. Without alternatives or random steps, nothing is drawn."""
        chosen = rng.choice(len(self.alternatives), p=self.probabilities) if len(self.alternatives) > 1 else 0
        return tuple(fault.draw(rng) for fault in self.alternatives[chosen])

    def __str__(self) -> str:
        names = ["+".join(map(str, faults)) or "none" for faults in self.alternatives]
        if len(names) == 1:
            return names[0]
        return ", ".join(f"{name}: {p:g}" for name, p in zip(names, self.probabilities, strict=True))


Structure = tuple[Fault, ...]
"""What is changed about a robot's body: limbs shortened or removed, without schedules, in a fixed order."""


def structure_of(faults: Iterable[Fault]) -> Structure:
    """The faults that change the body; limbs are shortened before any is removed."""
    changing = {Fault(f.kind, f.part, f.value) for f in faults if f.kind in ("shorten", "remove")}
    return tuple(sorted(changing, key=lambda fault: (fault.kind == "remove", fault.part)))


def parse_damage(damage: Any, anatomy: Anatomy, horizon: int) -> Damage:
    """Read a description of damage (see the module) for a robot.

    :param damage: a string, dictionary or `Fault`, a list of these (all at once), a mapping from string to probability,
        a `Damage`, or None for no damage
    :param horizon: steps of an episode; a schedule beyond it is refused
    :raises ValueError: for unknown names, values out of range, faults that contradict each other
    """
    if isinstance(damage, Damage):
        weighed = list(zip(damage.alternatives, damage.probabilities, strict=True))
    elif isinstance(damage, Mapping) and "kind" not in damage:
        weighed = [(_faults(one, anatomy), _probability(p, one)) for one, p in damage.items()]
    else:
        weighed = [(_faults(damage, anatomy), 1.0)]
    total = sum(p for _, p in weighed)
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        raise ValueError(f"The probabilities of the damage alternatives sum to {total:g}; they must sum to 1.")
    for faults, _ in weighed:
        _check(faults, anatomy, horizon)
    return Damage(tuple(faults for faults, _ in weighed), tuple(p / total for _, p in weighed))


def _faults(damage: Any, anatomy: Anatomy) -> tuple[Fault, ...]:
    if damage is None:
        return ()
    if isinstance(damage, str):
        return tuple(fault for part in damage.split("+") for fault in _from_string(part.strip(), anatomy))
    if isinstance(damage, Mapping):
        known = [f.name for f in fields(Fault)]
        unknown = [key for key in damage if key not in known]
        if unknown:
            raise ValueError(f"Unknown key '{unknown[0]}' of a fault.{_nearest(unknown[0], known)} Known: {', '.join(known)}.")
        if "kind" not in damage or "part" not in damage:
            raise ValueError(f"A fault needs 'kind' and 'part', but is {dict(damage)}.")
        return (_known(Fault(**damage), anatomy),)
    if isinstance(damage, Fault):
        return (_known(damage, anatomy),)
    if isinstance(damage, Iterable):
        return tuple(fault for one in damage for fault in _faults(one, anatomy))
    raise ValueError(f"Damage must be a string, a dictionary, a list of these or None, but is {damage!r}.")


def _from_string(text: str, anatomy: Anatomy) -> tuple[Fault, ...]:
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(
            f"Cannot read damage '{text}'. Write kind:part, with =value, @start, @start..latest or @start/period:active as "
            f"needed; kinds: {', '.join(KINDS)}."
        )
    kind, part, value = match["kind"], match["part"], match["value"]
    schedule = {name: int(match[name]) for name in ("start", "latest", "period", "active") if match[name] is not None}
    if kind is None:
        if part == "none":
            return ()
        if part in anatomy.presets:
            preset = _faults(anatomy.presets[part], anatomy)
            return tuple(Fault(f.kind, f.part, f.value, **schedule) for f in preset)
        known = [*anatomy.presets, *anatomy.limbs, "none"]
        if anatomy.aliases.get(part, part) not in anatomy.limbs:
            raise ValueError(
                f"{anatomy.robot} has no limb and no damage preset '{part}'.{_nearest(part, known)} Known: {', '.join(known)}."
            )
        kind = "remove"
    try:
        number = None if value is None else float(value)
    except ValueError:
        raise ValueError(f"The value of '{text}' must be a number, but is '{value}'.") from None
    return (_known(Fault(kind, part, number, **schedule), anatomy),)


def _known(fault: Fault, anatomy: Anatomy) -> Fault:
    """The fault with its part's own name."""
    part = anatomy.find(KINDS[fault.kind][0], fault.part)
    return Fault(**(fault.to_dict() | {"part": part}))


def _probability(p: Any, name: Any) -> float:
    if not isinstance(p, int | float) or not 0 <= p <= 1:
        raise ValueError(f"The probability of damage '{name}' must be a number in [0, 1], but is {p!r}.")
    return float(p)


def _check(faults: tuple[Fault, ...], anatomy: Anatomy, horizon: int) -> None:
    """Refuse schedules past the horizon, and faults that contradict each other."""
    seen: dict[tuple[str, str], Fault] = {}
    for fault in faults:
        last = fault.start if fault.latest is None else fault.latest
        if last >= horizon:
            raise ValueError(f"'{fault}' would start at step {last}, but an episode has {horizon} steps (0 to {horizon - 1}).")
        subject = (KINDS[fault.kind][0], fault.part)
        if subject in seen:
            raise ValueError(f"'{seen[subject]}' and '{fault}' both change the {subject[0]} '{fault.part}'; keep one of them.")
        seen[subject] = fault
    for removed in (f for f in faults if f.kind == "remove"):
        for fault in faults:
            if fault is not removed and fault.part in anatomy.limbs[removed.part]:
                raise ValueError(f"'{fault}' makes no sense together with '{removed}', which takes '{fault.part}' away.")


def _nearest(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
