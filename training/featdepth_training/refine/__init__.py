"""Weights that learn the place of a recording, and the gate that refuses worse ones."""
