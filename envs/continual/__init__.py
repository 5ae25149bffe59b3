"""Worlds that change: perturbed robots, and the sequences of tasks made of them."""
