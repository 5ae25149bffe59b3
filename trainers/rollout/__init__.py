"""Playing episodes of population members, the same call for every kind of environment."""

from collections.abc import Sequence

from stable_baselines3.common.vec_env import VecEnv

from policies.population.types import PopulationNetwork
from trainers.rollout.normalizer import Moments
from trainers.rollout.types import Evaluation, Rollout, Task
from trainers.rollout.variants import VariantRollout


def make_rollout(
    network: PopulationNetwork, envs: Sequence[VecEnv], chunk_steps: int = 1, shared_start: bool = False
) -> Rollout:
    """The rollout for these VecEnvs, one of each variant: one program with the environment for those that have a `task` in
    JAX (`BraxVecEnv`, `ToyVecEnv`), slot by slot for any other."""
    tasks = [getattr(env, "task", None) for env in envs]
    if all(isinstance(task, Task) for task in tasks):
        from trainers.rollout.jitted import task_rollouts

        rollouts: list[Rollout] = task_rollouts(network, tasks, chunk_steps)
    else:
        from trainers.rollout.vec_env import VecEnvRollout

        rollouts = [VecEnvRollout(network, env) for env in envs]
    return rollouts[0] if len(envs) == 1 else VariantRollout(rollouts, shared_start)


__all__ = ["Evaluation", "Moments", "Rollout", "make_rollout"]
