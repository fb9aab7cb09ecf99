"""Depth networks of others, as ONNX files: what they expect, what they give, and how they join in."""
