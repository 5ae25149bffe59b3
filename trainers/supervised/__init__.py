"""Spiking networks that learn from examples: movements of a robot arm, and spoken digits."""
