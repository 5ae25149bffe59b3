"""Brains: spiking, recurrent and plastic networks. Importing this registers the policies of Stable-Baselines3."""

from policies.sb3.register import register_policies

register_policies()
