"""Tests in this folder need a ROS 2 Python environment; without one they are not collected."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("rclpy") else ["test_*.py", "*/test_*.py"]
