import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.continual.perturb import Perturbation, parse_perturbation
from envs.continual.robots import PLANS

PRESETS = [(robot, preset) for robot, plan in PLANS.items() for preset in plan.presets]
LEGS = ("front_left", "rear_left", "rear_right", "front_right")


@pytest.mark.parametrize(
    ("robot", "text", "expected"),
    [
        ("Ant", None, Perturbation()),
        ("Ant", "normal", Perturbation()),
        ("Ant", "", Perturbation()),
        ("Ant", "moon", Perturbation(gravity=0.7)),
        ("HalfCheetah", "moon", Perturbation(gravity=0.15)),
        ("halfcheetah", "gravity=0.15 + friction=4e-1", Perturbation(0.15, 0.4)),
        ("HalfCheetah", "carry_stuff_hugegravity", Perturbation(1.5, bodies={"torso": 4})),
        ("Humanoid", "carrystuff", Perturbation(bodies={"torso": 4, "lower_waist": 4})),
        ("Ant", "action:hip_1=0+mask:hip_1", Perturbation(actions={"front_left_hip": 0}, masked=("front_left_hip",))),
        ("Ant", "mask:ankle_3.angle+mask:v_x", Perturbation(masked=("v_x", "rear_right_ankle.angle"))),
        ("Ant", {"bodies": {"torso": 2}, "masked": ["z"]}, Perturbation(bodies={"torso": 2}, masked=("z",))),
        ("Walker2d", "body:left_foot=2", Perturbation(bodies={"left_foot": 2})),
    ],
)
def test_forms_of_a_perturbation(robot: str, text, expected: Perturbation) -> None:
    assert parse_perturbation(text, robot) == expected


@pytest.mark.parametrize(("robot", "preset"), PRESETS)
def test_every_preset_survives_its_other_forms(robot: str, preset: str) -> None:
    perturbation = parse_perturbation(preset, robot)
    assert (perturbation == Perturbation()) == (preset == "normal")
    for form in (perturbation, str(perturbation), perturbation.to_dict(), pickle.loads(pickle.dumps(perturbation))):
        assert parse_perturbation(form, robot) == perturbation
        assert hash(parse_perturbation(form, robot)) == hash(perturbation)


def test_factors_multiply() -> None:
    def cheetah(text: str) -> Perturbation:
        return parse_perturbation(text, "HalfCheetah")

    assert cheetah("tinyfoot+moon") == cheetah("tinyfoot_moon")
    assert cheetah("inverted_actions+inverted_actions") == cheetah("normal")
    assert cheetah("body:torso=4+body:torso=0.25") == cheetah("normal")
    assert cheetah("gravity=2+gravity=3").gravity == 6


@given(
    st.floats(0, 100), st.floats(0, 100),
    st.dictionaries(st.sampled_from(list(PLANS["Ant"].parts)), st.floats(0.01, 100)),
    st.dictionaries(st.sampled_from(PLANS["Ant"].anatomy.joints), st.floats(-1, 1)),
    st.lists(st.sampled_from(PLANS["Ant"].channels)),
)  # fmt: skip
def test_plain_values_are_the_same_perturbation(gravity, friction, bodies, actions, masked) -> None:
    perturbation = Perturbation(gravity, friction, bodies, actions, tuple(masked))
    again = Perturbation(**perturbation.to_dict())
    assert again == perturbation
    assert hash(again) == hash(perturbation)
    assert parse_perturbation(perturbation.to_dict(), "Ant") == perturbation


@pytest.mark.parametrize(
    ("task", "legs"),
    [
        ("disabled_hard1", "rear_left rear_right front_right"),
        ("disabled_hard2", "front_left rear_right front_right"),
        ("disabled_forefeet", "front_left rear_left"),
        ("disabled_backfeet", "rear_right front_right"),
        ("disabled_first_diagonal", "front_left rear_right"),
        ("disabled_second_diagonal", "rear_left front_right"),
    ],
)
def test_disabled_legs_have_the_published_indices_in_both_orders(task: str, legs: str) -> None:
    """Published in Brax v1's order (section of the paper's code); later models begin with the front right leg."""
    published = {
        "disabled_hard1": [2, 3, 4, 5, 6, 7], "disabled_hard2": [0, 1, 4, 5, 6, 7], "disabled_forefeet": [0, 1, 2, 3],
        "disabled_backfeet": [4, 5, 6, 7], "disabled_first_diagonal": [0, 1, 4, 5], "disabled_second_diagonal": [2, 3, 6, 7],
    }  # fmt: skip
    plan, perturbation = PLANS["Ant"], parse_perturbation(task, "Ant")
    assert {joint.rsplit("_", 1)[0] for joint in dict(perturbation.actions)} == set(legs.split())
    assert np.flatnonzero(perturbation.gains(plan.joints_v1) == 0).tolist() == published[task]


def test_the_defective_module_hides_the_published_channels() -> None:
    """Those that NumPy's legacy generator draws with seed 0 for Brax v1, and the same ones by meaning elsewhere."""
    plan, perturbation = PLANS["HalfCheetah"], parse_perturbation("defective_module", "HalfCheetah")
    np.random.seed(0)  # noqa: NPY002
    drawn = np.random.permutation([0] * 9 + [1] * 9)  # noqa: NPY002
    v1 = perturbation.hidden(plan.layout(plan.joints_v1, 2, {}), 18)
    np.testing.assert_array_equal(~v1, [0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(~v1, drawn)
    later = perturbation.hidden(plan.layout(plan.joints_v1, 1, {}), 17)
    np.testing.assert_array_equal(~later, [0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1])


@pytest.mark.parametrize(
    ("robot", "given", "message"),
    [
        ("Ant", "hugefot", "Did you mean 'hugefoot'"),
        ("Ant", "body:torsoo=2", "no part 'torsoo'. Did you mean 'torso'"),
        ("Ant", "body:front_left_leg=2", "Did you mean 'front_left_thigh'"),
        ("Ant", "action:knee=0", "no joint 'knee'"),
        ("Ant", "mask:front_left_hip.angel", "Did you mean 'front_left_hip.angle'"),
        ("HalfCheetah", "mask:w_x", "no channel 'w_x'"),
        ("Ant", "bodi:torso=2", "Did you mean 'body'"),
        ("Ant", "a b", "Cannot read perturbation 'a b'"),
        ("Ant", "gravity", "needs a factor that is a number"),
        ("Ant", "gravity=low", "needs a factor that is a number"),
        ("Ant", "gravity=-1", "must be 0 or more, but is -1"),
        ("Ant", "gravity=nan", "must be 0 or more"),
        ("Ant", "body:torso=0", "must be positive"),
        ("Ant", "action:front_left_hip=2", r"must be in \[-1, 1\], but is 2"),
        ("Ant", "moon=2", "'moon' takes no value"),
        ("Ant", "mask:v_x=2", "'mask:v_x' takes no value"),
        ("Ant", {"graviti": 2}, "Did you mean 'gravity'"),
        ("Ant", {"gravity": "2"}, "must be 0 or more, but is '2'"),
        ("Ant", {"bodies": "torso"}, "must map each part to a factor"),
        ("Ant", {"masked": "z"}, "must be a list of channels"),
        ("Ant", 3, "must be a string, a dictionary or None"),
        ("Swimmer", "moon", "Swimmer cannot be perturbed"),
    ],
)
def test_bad_input(robot: str, given, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_perturbation(given, robot)
