"""Worlds. Importing this package registers every environment id with Gymnasium; it imports no simulator."""

from envs.registration import register_envs, silence_gym_notice

silence_gym_notice()
register_envs()
