"""What damage does to limbs and joints, for every physics: `bodies_v1` and `bodies_v2` say how.

A removed or shortened limb is another system of Brax's, compiled once on the host. Only the arrays in which these systems
differ are kept, one above the other, and picked by a number that is part of a state; so one program holds several bodies,
also side by side under `vmap`. No limb is taken out of a system: a removed one keeps its joints as remains that touch
nothing and pull at nothing, so that sizes do not change and the limb can go, and come back, at any step.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.damage import Anatomy, Structure
from envs.damaged.robots import ant_anatomy

UNTOUCHABLE = -1e3  # radius in metres of a removed foot: the ground is out of its reach


class Condition(NamedTuple):
    """What is true of limbs and joints in a step; joints in the order of the anatomy."""

    body: jax.Array
    """Which of the structures, int32 ()."""
    gains: jax.Array
    """Factors of the actuators' torques, float32 (8,)."""
    locked: jax.Array
    """Which joints are locked, bool (8,)."""
    angles: jax.Array
    """Where they are locked, in radians, float32 (8,)."""


class Bodies(ABC):
    """The ant of one physics with any of several bodies.

    :param env: Brax's environment
    :param structures: what is shortened or removed in each body; the first is intact
    :param locks: whether any joint may be locked
    """

    def __init__(self, env: Any, structures: tuple[Structure, ...], locks: bool) -> None:
        self.env = env
        self.structures = structures
        self.locks = locks

    @abstractmethod
    def system(self, body: int) -> Any:
        """Brax's system with one of the bodies; its `config` (v1) or `mj_model` is how to draw it."""

    @abstractmethod
    def under(self, condition: Condition) -> Any:
        """Brax's environment with the system as it is in this condition."""

    @abstractmethod
    def angles(self, physics: Any) -> jax.Array:
        """Angles of the joints in Brax's state, in radians (8,)."""

    @abstractmethod
    def change(self, physics: Any, old: Condition, new: Condition) -> Any:
        """Brax's state with the limbs where they belong in the new condition; the same where body and locks are."""

    @abstractmethod
    def observe(self, physics: Any, condition: Condition) -> jax.Array:
        """Brax's observation of a state of the start of an episode."""


def anatomy(physics: str) -> Anatomy:
    """The parts of the ant; only v1 observes contact forces."""
    if physics == "v1":
        return ant_anatomy("BraxAnt", ("torso", "contact_forces"))
    return ant_anatomy(f"BraxAnt with physics='{physics}'", ("torso",))


def differing(systems: Sequence[Sequence[Any]]) -> dict[int, jax.Array]:
    """The arrays in which systems differ: number of the array -> its values in each (V, ...)."""
    stacks = {}
    for i, values in enumerate(zip(*systems, strict=True)):
        arrays = [np.asarray(value) for value in values]
        if not all(np.array_equal(array, arrays[0]) for array in arrays):
            stacks[i] = jnp.asarray(np.stack(arrays))
    return stacks
