"""Stable-Baselines3 policies, registered by name when `policies` is imported."""
