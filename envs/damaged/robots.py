"""The parts of the MuJoCo robots: public names, and the names they have in Gymnasium's models."""

from collections.abc import Mapping
from dataclasses import dataclass

from envs.damage import Anatomy

# (limb, geom, its joints as "name" or "name=name in the model")
Segment = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True)
class Robot:
    """Where an anatomy's parts are in the model.

    :param geoms: limb -> its own geoms from the body outwards; the first one's body is the root of what is removed with it
    :param joints: joint -> joint of the model
    """

    anatomy: Anatomy
    geoms: Mapping[str, tuple[str, ...]]
    joints: Mapping[str, str]


# leg, number of its joints, geoms of its three segments. The names of the model's bodies and geoms say otherwise: its
# "front_right_leg" is at (-x, +y), its "right_back_leg" at (+x, -y).
ANT_LEGS: tuple[tuple[str, int, tuple[str, str, str]], ...] = (
    ("front_left", 1, ("aux_1_geom", "left_leg_geom", "left_ankle_geom")),
    ("rear_left", 2, ("aux_2_geom", "right_leg_geom", "right_ankle_geom")),
    ("rear_right", 3, ("aux_3_geom", "back_leg_geom", "third_ankle_geom")),
    ("front_right", 4, ("aux_4_geom", "rightback_leg_geom", "fourth_ankle_geom")),
)
# Names in released models and papers that do not contradict the names by place.
ANT_ALIASES = {
    "right_back_leg": "front_right_leg",
    "right_back_foot": "front_right_foot",
    "left_back_leg": "rear_right_leg",
    "left_back_foot": "rear_right_foot",
    "back_leg": "rear_right_leg",
    "fourth_ankle": "front_right_ankle",
    "third_ankle": "rear_right_ankle",
} | {f"{part}_{i}": f"{leg}_{part}" for leg, i, _ in ANT_LEGS for part in ("hip", "ankle")}


def ant_anatomy(robot: str, sensors: tuple[str, ...]) -> Anatomy:
    """Four legs of a fixed upper part, a thigh and a foot; a hip and an ankle each."""
    limbs: dict[str, tuple[str, ...]] = {}
    presets: dict[str, str] = {}
    for leg, _, _ in ANT_LEGS:
        foot = (f"{leg}_foot", f"{leg}_ankle")
        limbs[f"{leg}_leg"] = (f"{leg}_leg", f"{leg}_thigh", f"{leg}_hip", *foot)
        limbs[f"{leg}_thigh"] = (f"{leg}_thigh", f"{leg}_hip", *foot)
        limbs[f"{leg}_foot"] = foot
        presets[f"{leg}_short"] = f"shorten:{leg}_foot=0.25"
    joints = tuple(f"{leg}_{part}" for leg, _, _ in ANT_LEGS for part in ("hip", "ankle"))
    return Anatomy(robot, limbs, joints, sensors, presets, ANT_ALIASES)


def _ant() -> Robot:
    geoms: dict[str, tuple[str, ...]] = {}
    for leg, _, (upper, thigh, foot) in ANT_LEGS:
        geoms |= {f"{leg}_leg": (upper, thigh, foot), f"{leg}_thigh": (thigh,), f"{leg}_foot": (foot,)}
    joints = {f"{leg}_{part}": f"{part}_{i}" for leg, i, _ in ANT_LEGS for part in ("hip", "ankle")}
    return Robot(ant_anatomy("Ant", ("torso", "contact_forces")), geoms, joints)


def _chains(robot: str, chains: tuple[tuple[Segment, ...], ...], sensors: tuple[str, ...]) -> Robot:
    """A robot of chains of segments, each from the body outwards."""
    limbs: dict[str, tuple[str, ...]] = {}
    geoms: dict[str, tuple[str, ...]] = {}
    joints: dict[str, str] = {}
    for chain in chains:
        outwards: tuple[str, ...] = ()
        for limb, geom, own in reversed(chain):
            pairs = [joint.split("=") for joint in own]
            outwards = (limb, *(name for name, *_ in pairs), *outwards)
            limbs[limb] = outwards
            geoms[limb] = (geom,)
        for _, _, own in chain:
            joints |= {pair[0]: pair[-1] for pair in (joint.split("=") for joint in own)}
    return Robot(Anatomy(robot, limbs, tuple(joints), ("torso", *sensors)), geoms, joints)


def _humanoid() -> Robot:
    sides: list[tuple[Segment, ...]] = []
    for side in ("right", "left"):
        hips = tuple(f"{side}_hip_{axis}" for axis in "xyz")
        sides.append(
            (
                (f"{side}_thigh", f"{side}_thigh1", hips),
                (f"{side}_shin", f"{side}_shin1", (f"{side}_knee",)),
                (f"{side}_foot", f"{side}_foot", ()),
            )
        )
        shoulders = (f"{side}_shoulder1", f"{side}_shoulder2")
        sides.append(
            (
                (f"{side}_upper_arm", f"{side}_uarm1", shoulders),
                (f"{side}_lower_arm", f"{side}_larm", (f"{side}_elbow",)),
            )
        )
    sensors = ("inertias", "body_velocities", "actuator_forces", "contact_forces")
    robot = _chains("Humanoid", tuple(sides), sensors)
    abdomen = {f"abdomen_{axis}": f"abdomen_{axis}" for axis in "xyz"}
    anatomy = Anatomy("Humanoid", robot.anatomy.limbs, (*abdomen, *robot.anatomy.joints), robot.anatomy.sensors)
    return Robot(anatomy, robot.geoms, abdomen | dict(robot.joints))


ANT = _ant()
HALF_CHEETAH = _chains(
    "HalfCheetah",
    tuple(
        tuple(
            (f"{end}_{part}", f"{end[0]}{part}", (f"{end}_{part}_joint={end[0]}{part}",)) for part in ("thigh", "shin", "foot")
        )
        for end in ("back", "front")
    ),
    (),
)
HOPPER = _chains("Hopper", (tuple((part, f"{part}_geom", (f"{part}_joint",)) for part in ("thigh", "leg", "foot")),), ())
WALKER2D = _chains(
    "Walker2d",
    tuple(
        tuple(
            (f"{side}_{part}", f"{part}{suffix}_geom", (f"{side}_{part}_joint={part}{suffix}_joint",))
            for part in ("thigh", "leg", "foot")
        )
        for side, suffix in (("right", ""), ("left", "_left"))
    ),
    (),
)
HUMANOID = _humanoid()
