"""Every parameter of the node: the estimator's options, and what only a node has.

The declaration, config/depth.yaml and docs/parameters.md are made from it. After a change here or in
`inference.options` (a test compares):

    python -m featdepth_ros.ros.parameters config/depth.yaml
    python -m featdepth_ros.ros.parameters > docs/parameters.md
    python -m featdepth_ros.ros.refine.settings config/refine.yaml
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from featdepth_ros.inference.options import Option, options
from featdepth_ros.ros.parameters.schema import to_markdown, to_yaml
from featdepth_ros.ros.parameters.shared import DIAGNOSTICS_PERIOD
from featdepth_ros.ros.refine.settings import SECTIONS as REFINE_SECTIONS

SECTIONS: tuple[tuple[str, tuple[Option, ...]], ...] = (
    (
        "node",
        (
            Option(
                "autostart",
                True,
                "Configure and activate without being asked.",
                "One command is enough; set it to false when a lifecycle manager drives the node.",
            ),
            Option(
                "watchdog_s",
                3.0,
                "Without a new image for this many seconds diagnostics turn to ERROR and name the likely cause.",
                "Longer than any pause a camera makes on purpose; 0 switches it off.",
                low=0.0,
                high=3600.0,
                live=True,
            ),
            DIAGNOSTICS_PERIOD,
        ),
    ),
    (
        "cameras",
        (
            Option(
                "cameras",
                [""],
                "Names of several cameras: each has <name>/image_raw in and ~/<name>/depth/image_rect and so on out; "
                'none: one camera on image_raw. ROS 2 has no empty list, so [""] is none.',
                "One process for all of them runs the networks once for all images that wait.",
            ),
            Option(
                "odometry_camera",
                "",
                "The one of cameras that odometry and TF come from; empty: the first.",
                "A robot has one odometry; take the camera that looks where it goes.",
            ),
            Option(
                "window_cameras",
                [""],
                "The ones of cameras that track and solve their own motion; none: the odometry camera alone. "
                "The others take its motion through /tf_static and solve points only.",
                "A camera's own window costs more, and one motion gives all cameras one scale.",
            ),
        ),
    ),
    (
        "networks",
        (
            *options("weights", "preset", "convention", "device"),
            Option(
                "cpu_threads",
                0,
                "Threads the networks use on a CPU; 0: one less than there are processors, at least one.",
                "One processor stays for the rest of the robot; threads that find none free hold up the others.",
                low=0,
                high=256,
            ),
            *options(
                "precision",
                "backend",
                "backend_cache",
                "backend_cache_mb",
                "input_height",
                "input_width",
                "output_size",
            ),
        ),
    ),
    (
        "depth",
        (
            *options("depth", "min_depth", "max_depth"),
            Option(
                "min_valid_share",
                0.2,
                "Share of valid depths in a picture below which diagnostics turn to WARN.",
                "Good recordings have 0.4 to 1.0; what is behind it is a dark, covered or dazzled lens.",
                low=0.0,
                high=1.0,
                live=True,
            ),
            Option(
                "depth_encoding",
                "32FC1",
                "32FC1: float metres. 16UC1: millimetres, 0 for no value, at most 65.535 m (REP-118).",
                "Float keeps 'too far' and 'unreliable' apart.",
                choices=("32FC1", "16UC1"),
                live=True,
            ),
        ),
    ),
    ("scale", options("scale", "scale_factor", "camera_height_m", "speed_topic", "focal_compensation")),
    (
        "motion",
        options(
            "estimate_motion",
            "motion",
            "imu_topic",
            "standing_gate",
            "max_gap_s",
            "rolling_shutter_s",
            "max_speed_mps",
            "max_turn_rps",
            "noise_free_camera",
        ),
    ),
    (
        "frames",
        (
            Option(
                "base_frame",
                "base_link",
                "Frame whose motion is reported, connected to the camera by /tf_static or by joints on /tf. The "
                "transform joins the root above it (base_footprint), so that no frame gets two parents.",
                "Without a connection the root of the camera's tree, or the camera itself, is taken.",
            ),
            Option("odom_frame", "odom", "Frame the motion is reported in (REP-105).", "Rarely changed."),
            Option(
                "camera_frame",
                "",
                "Optical frame of the camera; empty: the image header's frame_id.",
                "For drivers that leave frame_id empty or wrong.",
            ),
            Option(
                "extrinsics_timeout_s",
                1.0,
                "Seconds to wait for /tf_static to connect the camera to base_frame before going on without.",
                "Discovery takes up to 3 s, but model loading has used most of that.",
                low=0.0,
                high=60.0,
            ),
            Option(
                "publish_tf",
                True,
                "Publish odom_frame -> base_frame on /tf. It is held back, with an error, while somebody else does.",
                "One publisher only.",
                live=True,
            ),
            Option(
                "invert_tf",
                False,
                "Publish base_frame -> odom_frame instead.",
                "For trees in which base_frame has a parent already.",
            ),
            Option(
                "publish_relative_odometry",
                True,
                "Publish odometry and TF while the scale is relative: model units, and a covariance that says so.",
                "The path's shape is right; set it to false when a filter would take it for metres.",
                live=True,
            ),
        ),
    ),
    (
        "input",
        (
            Option(
                "image_transport",
                "raw",
                "raw subscribes to Image on image_raw, compressed to CompressedImage on image_raw/compressed.",
                "A topic that ends in /compressed is taken as compressed anyway.",
                choices=("raw", "compressed"),
            ),
            Option(
                "reliability",
                "auto",
                "QoS of the image subscription; auto takes what the publishers offer and follows changes.",
                "A reliable subscription to a best-effort camera stays silent.",
                choices=("auto", "reliable", "best_effort"),
                live=True,
            ),
            Option(
                "rectified_input",
                "auto",
                "Whether the image is rectified already, so that P of camera_info is its camera and D is not applied.",
                "auto: yes when the last part of the topic's name has the word 'rect' or 'rectified'.",
                choices=("auto", "yes", "no"),
            ),
            Option(
                "camera_info_timeout_s",
                2.0,
                "Seconds to wait for camera_info after the first image before going on uncalibrated.",
                "Uncalibrated means a depth image only: no cloud, no odometry, no TF.",
                low=0.0,
                high=60.0,
            ),
            Option(
                "max_rate_hz",
                0.0,
                "Most images a second that are taken, evenly chosen by their stamps; 0: all that the machine can do.",
                "A rate that is enough leaves the processor or GPU to the rest of the robot.",
                low=0.0,
                high=1000.0,
                live=True,
            ),
        ),
    ),
    (
        "output",
        (
            Option(
                "publisher_reliability",
                "reliable",
                "QoS of images, clouds and odometry.",
                "Reliable reaches every subscriber; best_effort never waits for a slow one.",
                choices=("reliable", "best_effort"),
            ),
            Option(
                "lazy",
                True,
                "Convert and publish images and clouds only while someone subscribes.",
                "A cloud that nobody subscribes to costs as much as one that is used.",
                live=True,
            ),
            Option(
                "cloud_min_height_m",
                0.1,
                "Lowest points of ~/points_filtered, metres along z of base_frame.",
                "Leaves out the floor, with room for errors of its height.",
                low=-1000.0,
                high=1000.0,
                live=True,
            ),
            Option(
                "cloud_max_height_m",
                2.0,
                "Highest points of ~/points_filtered, metres along z of base_frame.",
                "The height of the robot, so that it drives under what it fits under.",
                low=-1000.0,
                high=1000.0,
                live=True,
            ),
            Option(
                "cloud_max_range_m",
                10.0,
                "Farthest points of ~/points_filtered from the camera, metres; 0: any.",
                "Errors of depth grow with distance; a local costmap needs no more.",
                low=0.0,
                high=10000.0,
                live=True,
            ),
            Option(
                "cloud_voxel_m",
                0.05,
                "Edge in metres of the cubes of which ~/points_filtered keeps one point; 0: all points stay.",
                "The resolution of nav2's costmaps; fewer points are marked faster.",
                low=0.0,
                high=100.0,
                live=True,
            ),
            Option(
                "cloud_dense",
                True,
                "~/points_filtered holds no NaN and is one row; false: rows of the image, NaN where points went.",
                "Some users of clouds take NaN for a point; others want the rows of the image.",
                live=True,
            ),
        ),
    ),
)

SCHEMA: dict[str, Option] = {p.name: p for _, parameters in SECTIONS for p in parameters}

_HEAD = """Parameters of depth_node, all at their defaults. Made by python -m featdepth_ros.ros.parameters.
Do not edit this file. Copy it and pass yours:
ros2 launch featdepth_ros depth.launch.py params_file:=/path/to/mine.yaml
'live' parameters take effect at once (ros2 param set). The others are read by configure:
ros2 lifecycle set /depth_node deactivate, then cleanup, set them, configure, activate."""

_PAGE = """# Parameters

These are the parameters of `depth_node`. `config/depth.yaml` holds all of them at their defaults; pass a changed copy
with `params_file:=/path/to/mine.yaml`. A live parameter takes effect at once (`ros2 param set`). The others are read
when the node is configured: deactivate it, clean it up, set them, configure and activate it again.

This page is made by `python -m featdepth_ros.ros.parameters`.

"""
_REFINE = """
## refine_node

These are the parameters of `refine_node`, see [Refinement on the robot](online-refinement.md). `config/refine.yaml`
holds all of them at their defaults. What is not live is read at the start.

"""


def yaml_text() -> str:
    """Return the text of config/depth.yaml."""
    return to_yaml(SECTIONS, _HEAD)


def page_text() -> str:
    """Return the text of docs/parameters.md."""
    return _PAGE + to_markdown(SECTIONS) + _REFINE + to_markdown(REFINE_SECTIONS)


def main(arguments: Sequence[str]) -> int:
    """Write config/depth.yaml to the path given, or docs/parameters.md to standard output."""
    if arguments:
        Path(arguments[0]).write_text(yaml_text(), encoding="utf-8")
    else:
        sys.stdout.write(page_text())
    return 0
