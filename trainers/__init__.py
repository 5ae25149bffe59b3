"""Learning: each algorithm is a class and a command, `python -m trainers.<name>`."""

import envs  # noqa: F401  (registers the ids; before Stable-Baselines3, which would print old gym's notice)
