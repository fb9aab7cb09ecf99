"""One camera of the node: its topics, its calibration, its frames, its place on the robot."""
