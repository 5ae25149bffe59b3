"""Playing episodes of population members, the same call for every kind of environment."""

from collections.abc import Sequence

from stable_baselines3.common.vec_env import VecEnv

from policies.population.types import PopulationNetwork
from trainers.rollout.normalizer import Moments
from trainers.rollout.types import Evaluation, Rollout
from trainers.rollout.variants import VariantRollout


def make_rollout(
    network: PopulationNetwork, envs: Sequence[VecEnv], chunk_steps: int = 1, shared_start: bool = False
) -> Rollout:
    """The rollout for these VecEnvs, one of each variant: fused with the physics for a `BraxVecEnv`, slot by slot for any
    other."""
    from envs.brax.tasks import BraxTask

    tasks = [getattr(env, "task", None) for env in envs]
    if all(isinstance(task, BraxTask) for task in tasks):
        from trainers.rollout.jitted import brax_rollouts

        rollouts: list[Rollout] = brax_rollouts(network, tasks, chunk_steps)
    else:
        from trainers.rollout.vec_env import VecEnvRollout

        rollouts = [VecEnvRollout(network, env) for env in envs]
    return rollouts[0] if len(envs) == 1 else VariantRollout(rollouts, shared_start)


__all__ = ["Evaluation", "Moments", "Rollout", "make_rollout"]
