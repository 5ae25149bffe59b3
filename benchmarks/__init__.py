"""Benchmarks: each is a command that prints a table. Ratios are measured side by side in one run."""
