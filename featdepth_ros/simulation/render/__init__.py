"""Rendering of a scene to images with known depth: shapes, textures, light and the compiled loops."""
