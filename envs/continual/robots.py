"""The parts of the robots that can be perturbed, in each of their models, and the published perturbations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from envs.damage import Anatomy
from envs.damaged import robots


class Part(NamedTuple):
    """A rigid part of a robot.

    In Brax v1 and in the MuJoCo file of current Brax the humanoid's shin and foot are one body; parts are therefore sets of
    colliders or geoms, and each has the share of the body's mass that its volume has.
    """

    body: str
    """Its body in Brax v1."""
    colliders: tuple[int, ...]
    """Which of that body's colliders are its own."""
    grown: int | None
    """The collider whose radius follows the factor (None: the mass alone does)."""
    geoms: tuple[str, ...]
    """Its geoms in the MuJoCo files; one that a file does not have is left out."""
    grown_geoms: tuple[str, ...]
    """Those whose radius follows the factor."""


@dataclass(frozen=True)
class Plan:
    """What can be perturbed about a robot.

    :param robot: its anatomy, and where its joints are in the MuJoCo files
    :param planar: whether it moves in the plane of x and z
    :param joints_v1: its joints in the order of actions and observations in Brax v1
    :param presets: name -> perturbation in the notation of `envs.continual.perturb`
    """

    robot: robots.Robot
    parts: Mapping[str, Part]
    planar: bool
    joints_v1: tuple[str, ...]
    presets: Mapping[str, str]

    @property
    def anatomy(self) -> Anatomy:
        return self.robot.anatomy

    @property
    def root(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Channels of the root: of its position and turn, and of its velocities."""
        if self.planar:
            return ("x", "z", "pitch"), ("v_x", "v_z", "w_y")
        return ("x", "y", "z", "orientation"), ("v_x", "v_y", "v_z", "w_x", "w_y", "w_z")

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of everything that an observation may have."""
        ends = [f"{joint}.{end}" for joint in self.anatomy.joints for end in ("angle", "velocity")]
        positions, velocities = self.root
        return (*self.anatomy.parts("sensor"), *positions, *velocities, *ends)

    def layout(
        self, joints: Sequence[str], orientation: int, further: Mapping[str, int], whole: bool = False
    ) -> dict[str, np.ndarray]:
        """Where each channel is in an observation of position, angles, velocities and further sensors.

        :param joints: in the order of the observation
        :param orientation: how many numbers tell of the root's turn
        :param further: further sensors in order -> how many numbers they have
        :param whole: whether the observation has the coordinates in which the robot moves along
        """
        positions, velocities = self.root
        skipped = 0 if whole else len(positions) - 2
        sizes = dict.fromkeys(positions[skipped:-1], 1) | {positions[-1]: orientation}
        sizes |= {f"{joint}.angle": 1 for joint in joints} | dict.fromkeys(velocities, 1)
        sizes |= {f"{joint}.velocity": 1 for joint in joints} | {name: size for name, size in further.items() if size}
        where, start = {}, 0
        for name, size in sizes.items():
            where[name] = np.arange(start, start + size)
            start += size
        for joint in joints:
            where[joint] = np.concatenate([where[f"{joint}.angle"], where[f"{joint}.velocity"]])
        where["torso"] = np.concatenate([where[name] for name in (*positions[skipped:], *velocities)])
        return where


def _limb(body: str, geom: str) -> Part:
    return Part(body, (0,), 0, (geom,), (geom,))


def _turned_off(*joints: str) -> str:
    return "+".join(f"action:{joint}=0" for joint in joints)


def _inverted(robot: robots.Robot) -> str:
    return "+".join(f"action:{joint}=-1" for joint in robot.anatomy.joints)


def _half_cheetah() -> Plan:
    robot = robots.HALF_CHEETAH
    parts = {"torso": Part("torso", (0, 1), 0, ("torso", "head"), ("torso",))}  # of the trunk, not of the head
    parts |= {limb: _limb(geom, geom) for limb, (geom,) in robot.geoms.items()}
    # Half of Brax v1's 18 channels, as NumPy's legacy generator drew them with seed 0.
    hidden = ("z", "pitch", "back_foot_joint.angle", "front_thigh_joint.angle", "v_z", "back_shin_joint.velocity",
              "back_foot_joint.velocity", "front_thigh_joint.velocity")  # fmt: skip
    presets = {
        "normal": "",
        "hugefoot": "body:back_foot=1.5+body:front_foot=1.5",
        "tinyfoot": "body:back_foot=0.5+body:front_foot=0.5",
        "moon": "gravity=0.15",
        "rainfall": "friction=0.4",
        "carry_stuff": "body:torso=4",
        "carry_stuff_hugegravity": "carry_stuff+gravity=1.5",
        "hugefoot_rainfall": "hugefoot+rainfall",
        "tinyfoot_moon": "tinyfoot+moon",
        "defective_module": "+".join(f"mask:{channel}" for channel in hidden),
        "inverted_actions": _inverted(robot),
    }
    return Plan(robot, parts, True, robot.anatomy.joints, presets)


def _ant() -> Plan:
    robot = robots.ANT
    upper = tuple(geom for _, _, (geom, _, _) in robots.ANT_LEGS)  # fixed to the torso
    parts = {"torso": Part("$ Torso", (0,), 0, ("torso_geom", *upper), ("torso_geom",))}
    for leg, number, (_, thigh, foot) in robots.ANT_LEGS:
        parts[f"{leg}_thigh"] = _limb(f"Aux {number}", thigh)
        feet = (foot, foot.replace("ankle", "foot"))  # in current Brax a sphere at the end is what touches the ground
        parts[f"{leg}_foot"] = Part(f"$ Body {1 + 3 * number}", (0,), 0, feet, feet)
    one, two, three, four = ((f"{leg}_hip", f"{leg}_ankle") for leg, _, _ in robots.ANT_LEGS)
    presets = {
        "normal": "",
        "hugefoot": "+".join(f"body:{leg}_foot=1.5" for leg, _, _ in robots.ANT_LEGS),
        "moon": "gravity=0.7",
        "rainfall": "friction=0.375",
        "disabled_hard1": _turned_off(*two, *three, *four),
        "disabled_hard2": _turned_off(*one, *three, *four),
        "disabled_forefeet": _turned_off(*one, *two),  # the published name, of the legs at +y
        "disabled_backfeet": _turned_off(*three, *four),
        "disabled_first_diagonal": _turned_off(*one, *three),
        "disabled_second_diagonal": _turned_off(*two, *four),
        "inverted_actions": _inverted(robot),
    }
    return Plan(robot, parts, False, robot.anatomy.joints, presets)


def _humanoid() -> Plan:
    # In Brax v1 it is the last collider of a body that grows: the foot of a shin, the upper waist of a torso.
    parts = {
        "torso": Part("torso", (0, 1, 2), 2, ("torso1", "head", "uwaist"), ("uwaist",)),
        "lower_waist": _limb("lwaist", "lwaist"),
        "pelvis": _limb("pelvis", "butt"),
    }
    for side in ("right", "left"):
        arm = (f"{side}_larm", f"{side}_hand")
        parts |= {
            f"{side}_thigh": _limb(f"{side}_thigh", f"{side}_thigh1"),
            f"{side}_shin": Part(f"{side}_shin", (0,), None, (f"{side}_shin1",), ()),
            f"{side}_foot": Part(f"{side}_shin", (1,), 1, (f"{side}_foot",), (f"{side}_foot",)),
            f"{side}_upper_arm": _limb(f"{side}_upper_arm", f"{side}_uarm1"),
            f"{side}_lower_arm": Part(f"{side}_lower_arm", (0, 1), 1, arm, arm[1:]),
        }
    legs, arms = [], []
    for side in ("right", "left"):
        legs += [f"{side}_hip_{axis}" for axis in "xyz"] + [f"{side}_knee"]
        arms += [f"{side}_shoulder1", f"{side}_shoulder2", f"{side}_elbow"]
    joints = ("abdomen_z", "abdomen_y", "abdomen_x", *legs, *arms)
    presets = {
        "normal": "",
        "moon": "gravity=0.15",
        "carrystuff": "body:torso=4+body:lower_waist=4",
        "tinyfeet": "+".join(f"body:{side}_{part}=0.5" for side in ("right", "left") for part in ("shin", "foot")),
        "inverted_actions": _inverted(robots.HUMANOID),
    }
    return Plan(robots.HUMANOID, parts, False, joints, presets)


def _walker(robot: robots.Robot, bodies: Mapping[str, str]) -> Plan:
    parts = {"torso": _limb("torso", "torso_geom")}
    parts |= {limb: _limb(bodies[limb], geom) for limb, (geom,) in robot.geoms.items()}
    presets = {"normal": "", "moon": "gravity=0.15", "rainfall": "friction=0.4", "inverted_actions": _inverted(robot)}
    return Plan(robot, parts, True, robot.anatomy.joints, presets)


WALKER2D_LEGS = {"right": "", "left": "_left"}
PLANS: dict[str, Plan] = {
    "HalfCheetah": _half_cheetah(),
    "Ant": _ant(),
    "Humanoid": _humanoid(),
    "Hopper": _walker(robots.HOPPER, {part: part for part in ("thigh", "leg", "foot")}),
    "Walker2d": _walker(
        robots.WALKER2D,
        {f"{side}_{part}": part + end for side, end in WALKER2D_LEGS.items() for part in ("thigh", "leg", "foot")},
    ),
}
