"""Comparisons of runs: `python -m trainers.report runs/ec_brax`."""
