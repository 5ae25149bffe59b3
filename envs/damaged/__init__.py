"""Gymnasium's robots with damage."""
