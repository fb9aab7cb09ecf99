from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import rclpy

from featdepth_ros.ros.inputs import Topics, input_topics


@pytest.fixture
def context() -> Iterator[Any]:
    made = rclpy.Context()
    rclpy.init(context=made)
    yield made
    rclpy.shutdown(context=made)


@pytest.mark.parametrize(
    ("remaps", "transport", "expected"),
    [
        ([], "raw", Topics("/image_raw", "/camera_info", False, False)),
        (["__ns:=/robot"], "raw", Topics("/robot/image_raw", "/robot/camera_info", False, False)),
        (["image_raw:=/camera/image_raw"], "raw", Topics("/camera/image_raw", "/camera/camera_info", False, False)),
        (
            ["image_raw:=/camera/image_raw"],
            "compressed",
            Topics("/camera/image_raw/compressed", "/camera/camera_info", True, False),
        ),
        (
            ["image_raw:=/camera/image_raw/compressed"],
            "raw",
            Topics("/camera/image_raw/compressed", "/camera/camera_info", True, False),
        ),
        (["image_raw:=/camera/image_rect"], "raw", Topics("/camera/image_rect", "/camera/camera_info", False, True)),
        (
            ["image_raw:=/rect/image_rect_color/compressed"],
            "raw",
            Topics("/rect/image_rect_color/compressed", "/rect/camera_info", True, True),
        ),
        (
            ["image_raw:=/camera/image_raw", "camera_info:=/calibrated/info"],
            "raw",
            Topics("/camera/image_raw", "/calibrated/info", False, False),
        ),
        (
            ["image_raw:=/camera/image_raw", "/camera/camera_info:=/calibrated/info"],
            "raw",
            Topics("/camera/image_raw", "/camera/camera_info", False, False),  # remapped when subscribing
        ),
    ],
)
def test_topics_are_the_ones_image_pipeline_would_choose(
    context: Any, remaps: list[str], transport: str, expected: Topics
) -> None:
    words = ["--ros-args", *(word for remap in remaps for word in ("-r", remap))]
    node = rclpy.create_node("depth_node", context=context, cli_args=words)
    try:
        assert input_topics(node, transport) == expected
    finally:
        node.destroy_node()
