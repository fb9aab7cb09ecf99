"""Checks around the images: clock, frames, arguments of the start."""
