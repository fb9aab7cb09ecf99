"""Recordings into caches: which frames, rectified, with pseudo-depth."""
