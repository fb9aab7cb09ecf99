"""Problems of the clock, of the images' frame and of the start, as sentences; empty: none."""

from __future__ import annotations

import re

from rclpy.node import Node

from featdepth_ros.ros.parameters.settings import Settings


def clock_trouble(node: Node) -> str:
    """Return the problem of the node's clock; empty: none."""
    if not node.get_parameter("use_sim_time").value or node.get_clock().now().nanoseconds > 0:
        return ""
    publishers = node.count_publishers("/clock")
    who = "its publisher has sent nothing" if publishers else "nobody publishes it"
    return (
        f"use_sim_time is true and no /clock has arrived ({who}), so the node's time stays at 0. Play the recording "
        "with --clock, start the simulator, or set use_sim_time to false"
    )


def frame_trouble(frame_id: str, settings: Settings) -> str:
    """Return the problem of the optical frame of an image; empty: none, or there is no image yet."""
    if frame_id != settings.odom_frame or not frame_id:
        return ""
    return (
        f"the images' frame_id is '{frame_id}', which is odom_frame, so there is no odometry and no TF: the camera "
        "needs a frame of its own. Correct the driver's frame_id or set camera_frame"
    )


def start_trouble(text: str) -> str:
    """Return why ROS did not start, without the internal details of rcl.

    Args:
        text: text of the exception that rclpy raised.
    """
    plain = re.sub(r"(, at /\S+:\d+)+\s*$", "", text.replace("failed to initialize rcl: ", "").strip())
    plain = re.sub(r"\s+", " ", plain.replace(" ,", ",")).strip(" ,")
    missing = re.search(r"'--params-file (.*)'\. Error: Error opening YAML file", plain)
    if missing:
        return f"the params file '{missing[1]}' cannot be opened: is the path right?"
    broken = re.search(r"'--params-file (.*)'\. Error: (.*)", plain)
    if broken:
        return (
            f"the params file '{broken[1]}' cannot be read: {broken[2]}. Parameters stand under "
            "'/**:' and 'ros__parameters:', as in config/depth.yaml"
        )
    if "expecting type 'DOUBLE'" in plain:
        return f"{plain}; write it with a decimal point"
    return plain
