"""Offline reinforcement learning: collect a dataset, learn from it without an environment, evaluate what was learned."""
