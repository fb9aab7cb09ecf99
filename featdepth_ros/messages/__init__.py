"""ROS messages to arrays and back, for the classes of rclpy and of rosbags alike."""
