"""Objective functions as environments: what a policy answers is judged at once, and the best answer is known."""
