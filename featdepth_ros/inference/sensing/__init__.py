"""Other sensors of the motion between two frames: the robot's speed and its gyroscope. It uses no ROS."""
