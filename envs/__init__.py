"""Worlds. Importing this package registers every environment id with Gymnasium; it imports no simulator."""

from envs.registration import register_envs

register_envs()
