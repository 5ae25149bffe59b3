"""A policy from scratch for every task."""

from typing import ClassVar

from stable_baselines3.sac.policies import Actor

from trainers.continual.methods.base import OneEach


class FromScratch(OneEach):
    """Every task learns in a new actor with new critics: the reference R_i by which others are normalised.

    The released code lets the critics of the task before go on; here they are new, so that it is from scratch.
    """

    new_critics: ClassVar[bool] = True

    def next_actor(self) -> Actor:
        return self.make_actor()
