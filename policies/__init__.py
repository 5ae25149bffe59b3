"""Brains: spiking, recurrent and plastic networks."""
