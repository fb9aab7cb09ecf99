"""Converts recordings to caches: selects and rectifies frames, adds pseudo-depth."""
