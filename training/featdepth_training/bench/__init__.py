"""Benchmarks of training: the step and the loader, alone or beside a checkout of the original."""
