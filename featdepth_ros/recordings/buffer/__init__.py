"""A bounded buffer of segments on the disk: what a robot saw lately, to learn from."""
