"""Motion and structure from a window of keyframes: causal, one camera, no ROS, no networks inside."""
