"""What other sensors of the robot say about the motion between two frames: its speed and its gyroscope. No ROS."""
