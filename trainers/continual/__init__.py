"""Continual RL: methods that learn tasks one after the other, behind one interface, over SAC."""
