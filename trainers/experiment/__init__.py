"""Grids of algorithms, environments and seeds: `python -m trainers.experiment ec_brax`."""
