"""Playing episodes of population members, the same call for every kind of environment."""

from stable_baselines3.common.vec_env import VecEnv

from policies.population.types import PopulationNetwork
from trainers.rollout.normalizer import Moments
from trainers.rollout.types import Evaluation, Rollout


def make_rollout(network: PopulationNetwork, env: VecEnv, chunk_steps: int = 1) -> Rollout:
    """The rollout for this VecEnv: fused with the physics for a `BraxVecEnv`, slot by slot for any other."""
    from envs.brax.tasks import BraxTask

    task = getattr(env, "task", None)
    if isinstance(task, BraxTask):
        from trainers.rollout.jitted import JittedRollout

        return JittedRollout(network, task, chunk_steps=chunk_steps)
    from trainers.rollout.vec_env import VecEnvRollout

    return VecEnvRollout(network, env)


__all__ = ["Evaluation", "Moments", "Rollout", "make_rollout"]
