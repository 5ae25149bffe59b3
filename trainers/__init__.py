"""Learning: each algorithm is a class and a command, `python -m trainers.<name>`."""
