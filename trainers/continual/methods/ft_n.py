"""Fine-tuning of a copy for every task."""

from stable_baselines3.sac.policies import Actor

from trainers.continual.methods.base import OneEach


class FineTuneEach(OneEach):
    """Every task learns in a copy of the last task's actor, and all are kept: theta_t starts at theta_{t-1}."""

    def next_actor(self) -> Actor:
        return self.actor
