"""Tests in this folder need a ROS 2 Python environment; without one they are not collected."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ros_graph import Graph

collect_ignore_glob = [] if importlib.util.find_spec("rclpy") else ["test_*.py", "*/test_*.py"]


@pytest.fixture
def ros() -> Iterator[Graph]:
    """Return a ROS graph of this test alone; what fails in its threads fails the test."""
    from ros_graph import graph

    with graph() as made:
        yield made
        assert made.failure is None, made.failure
