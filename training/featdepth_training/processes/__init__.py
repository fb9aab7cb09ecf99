"""Distributed processes, and signal handling."""
