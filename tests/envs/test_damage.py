import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.damage import Anatomy, Fault, parse_damage
from envs.damaged.robots import ANT

ANATOMY = ANT.anatomy


def _only(damage) -> tuple[Fault, ...]:
    return parse_damage(damage, ANATOMY, 1000).alternatives[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", ()),
        (None, ()),
        ("front_left_leg", (Fault("remove", "front_left_leg"),)),
        ("front_left_short", (Fault("shorten", "front_left_foot", 0.25),)),
        ("front_left_short@7", (Fault("shorten", "front_left_foot", 0.25, 7),)),
        ("right_back_foot", (Fault("remove", "front_right_foot"),)),
        ("weaken:rear_left_hip", (Fault("weaken", "rear_left_hip", 0.5),)),
        ("weaken:rear_left_hip=0.2@100..300", (Fault("weaken", "rear_left_hip", 0.2, 100, 300),)),
        ("dead:torso@0/50:20", (Fault("dead", "torso", None, 0, None, 50, 20),)),
        ("lock:hip_4 + noisy:torso=0.5", (Fault("lock", "front_right_hip"), Fault("noisy", "torso", 0.5))),
        (
            [{"kind": "slack", "part": "hip_1", "start": 3}, "dead:torso"],
            (Fault("slack", "front_left_hip", start=3), Fault("dead", "torso")),
        ),
    ],
)  # fmt: skip
def test_forms_of_damage(text, expected) -> None:
    assert _only(text) == expected


schedules = st.one_of(
    st.builds(lambda start: {"start": start}, st.integers(0, 99)),
    st.builds(lambda start, more: {"start": start, "latest": start + more}, st.integers(0, 49), st.integers(0, 50)),
    st.builds(lambda start, on, off: {"start": start, "period": on + off, "active": on}, st.integers(0, 9), st.integers(1, 9),
              st.integers(1, 9)),
)  # fmt: skip
faults = st.builds(
    lambda kind, value, when: Fault(kind, "front_left_hip", value if kind == "weaken" else None, **when),
    st.sampled_from(["lock", "weaken", "dead"]),
    st.floats(0, 0.875).map(lambda x: round(x, 3)),
    schedules,
)


@given(faults)
def test_a_fault_is_read_back_from_its_string_and_its_dictionary(fault: Fault) -> None:
    assert _only(str(fault)) == _only(fault.to_dict()) == (fault,)
    assert pickle.loads(pickle.dumps(fault)) == fault


@given(faults, st.integers(0, 2**31))
def test_changes_are_announced_exactly(fault: Fault, seed: int) -> None:
    """`next_change` names the steps at which `is_active`, asked step by step, changes (or begins)."""
    fault = fault.draw(np.random.default_rng(seed))
    expected = [k for k in range(1, 120) if fault.is_active(k) != fault.is_active(k - 1)]
    announced, step = [], 0
    while (change := fault.next_change(step)) is not None and change < 120:
        announced.append(change)
        step = change
    assert announced == expected


def test_random_starts_and_alternatives_are_drawn_with_their_probabilities() -> None:
    damage = parse_damage({"none": 0.25, "lock:hip_1@10..12": 0.75}, ANATOMY, 1000)
    rng = np.random.default_rng(0)
    drawn = [damage.draw(rng) for _ in range(4000)]
    assert np.mean([d == () for d in drawn]) == pytest.approx(0.25, abs=0.03)
    starts = np.bincount([d[0].start for d in drawn if d])
    assert list(np.flatnonzero(starts)) == [10, 11, 12]
    assert starts[10:] / starts.sum() == pytest.approx([1 / 3] * 3, abs=0.04)
    before = rng.bit_generator.state
    parse_damage("front_left_leg@5", ANATOMY, 1000).draw(rng)
    assert rng.bit_generator.state == before, "nothing random, nothing drawn"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("front_left_lge", "no limb and no damage preset 'front_left_lge'. Did you mean 'front_left_leg'"),
        ("weakn:hip_1", "Unknown kind of damage 'weakn'. Did you mean 'weaken'"),
        ("lock:front_left_hipp", "no joint 'front_left_hipp'. Did you mean 'front_left_hip'"),
        ("dead:tarso", "no sensor 'tarso'. Did you mean 'torso'"),
        ("weaken:hip_1=1.5", r"must be in \[0, 1\), but is 1.5"),
        ("shorten:front_left_foot=0", r"must be in \(0, 1\), but is 0.0"),
        ("noisy:torso=-1", "must be positive"),
        ("weaken:hip_1=nan", r"must be in \[0, 1\), but is nan"),
        ("lock:hip_1=0.5", "takes no value"),
        ("weaken:hip_1=much", "must be a number, but is 'much'"),
        ("lock:hip_1@1000", "would start at step 1000, but an episode has 1000 steps"),
        ("lock:hip_1@5..1000", "would start at step 1000"),
        ("lock:hip_1@9..5", "not after its latest step"),
        ("lock:hip_1@0/5:5", "active for at least 1 and less than 5"),
        ("lock hip", "Cannot read damage 'lock hip'"),
        ("front_left_leg+weaken:ankle_1", "makes no sense together"),
        ("front_left_leg+front_left_short", "makes no sense together"),
        ("lock:hip_1+slack:hip_1", "both change the joint 'front_left_hip'"),
        ({"none": 0.5, "front_left_leg": 0.4}, "sum to 0.9"),
        ({"none": "half"}, "must be a number"),
        ({"kind": "lock", "prt": "hip_1"}, "Unknown key 'prt' of a fault. Did you mean 'part'"),
        ({"kind": "lock"}, "needs 'kind' and 'part'"),
        (3, "must be a string, a dictionary, a list"),
    ],
)
def test_bad_damage_is_refused(damage, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_damage(damage, ANATOMY, 1000)


def test_names_are_those_of_the_robot() -> None:
    bare = Anatomy("Snake", {"tail": ("tail",)}, ())
    with pytest.raises(ValueError, match="Snake has no limb"):
        parse_damage("front_left_leg", bare, 10)
