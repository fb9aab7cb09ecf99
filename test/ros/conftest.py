"""Tests in this folder need a ROS 2 Python environment; without one they are skipped, not failed."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")
