"""Conversion between ROS messages and arrays, for the classes of rclpy and of rosbags."""
