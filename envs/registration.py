"""The table of environments: id -> where the class is and how it is made."""

from typing import Any, NamedTuple

import gymnasium


class Entry(NamedTuple):
    """One registered environment; the class is imported when the first one is made."""

    entry_point: str
    kwargs: dict[str, Any]
    max_episode_steps: int | None  # None: the environment ends its episodes itself
    reward_threshold: float | None = None


ENVS: dict[str, Entry] = {
    f"Brax{task}-v0": Entry("envs.brax.gym:BraxEnv", {"task": task.lower()}, 1000)
    for task in ("Hopper", "Walker2d", "HalfCheetah", "Ant", "Humanoid", "Reacher", "Swimmer")
}
ENVS |= {
    f"Damaged{robot}-v0": Entry(f"envs.damaged.mujoco:Damaged{robot}", {}, 1000)
    for robot in ("Ant", "HalfCheetah", "Hopper", "Walker2d", "Humanoid")
}
ENVS["RobotTrajectory-v0"] = Entry("envs.robot_arm.trajectory:RobotTrajectoryEnv", {}, None)
ENVS["CarRacingEarlyStop-v0"] = Entry("envs.car_racing.early_stop:CarRacingEarlyStop", {}, 1000)
ENVS["ContinualWorld-v0"] = Entry("envs.continual.world:ContinualWorld", {}, 200)
ENVS |= {"DamagedAntBullet-v0": Entry("envs.damaged.bullet:DamagedAntBullet", {}, 1000)}
ENVS |= {
    f"{name}-v0": Entry("envs.toy.env:ToyEnv", {"objective": objective}, None, threshold)
    for name, objective, threshold in (
        ("HalfOneMax", "half_one_max", 128.0),
        ("Quadratic", "quadratic", -0.1),
        ("Deceptive", "deceptive", 256.0),
    )
}


def register_envs() -> None:
    """Register the ids of `ENVS`; those already registered are left alone."""
    for env_id, entry in ENVS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(
                env_id, entry.entry_point, entry.reward_threshold,
                max_episode_steps=entry.max_episode_steps, kwargs=dict(entry.kwargs),
            )  # fmt: skip


def silence_gym_notice() -> None:
    """Keep old `gym`, which Brax installs and Stable-Baselines3 imports when it is there, from printing its notice."""
    try:
        from gym_notices import notices
    except ImportError:
        return
    notices.notices.clear()
