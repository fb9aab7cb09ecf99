"""The robot's tree of frames: what others publish, where the camera sits, and what this node may add."""
