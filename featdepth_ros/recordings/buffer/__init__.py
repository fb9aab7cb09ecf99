"""A bounded buffer of recent frames of a robot on the disk, as training data."""
