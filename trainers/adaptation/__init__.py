"""How policies adapt within a lifetime: to other bodies, to damage in mid-episode, to the loss of their network's state.

`players.py` policies from their files, `episodes.py` what is recorded, `perturb.py` changed states, `measures.py` what is
computed from rewards, `studies.py` the studies and their tables, `plots.py` their pictures.
"""
