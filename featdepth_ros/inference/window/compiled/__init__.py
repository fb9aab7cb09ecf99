"""The window's inner loops, compiled by numba."""
