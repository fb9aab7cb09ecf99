"""One camera of the node: topics, calibration, images, mounting on the robot."""
