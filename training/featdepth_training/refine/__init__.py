"""Refinement of weights on recordings of a place, with a gate that rejects worse weights."""
