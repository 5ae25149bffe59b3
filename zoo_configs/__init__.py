"""Hyper-parameters by algorithm and environment, in rl_zoo3's YAML dialect. Data only."""
