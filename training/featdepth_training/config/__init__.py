"""A training's settings: what they are, how they are read, and what does not go together."""
