"""Every parameter of depth_node: the estimator's options, and those that only a node has.

The declaration, config/depth.yaml and docs/parameters.md are generated from these definitions. After a change here or
in `inference.options`, run the commands below; a test compares the results:

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
                "Configure and activate the node when it starts.",
                "One command then starts everything. Set it to false if a lifecycle manager controls the node.",
            ),
            Option(
                "watchdog_s",
                3.0,
                "Seconds without a new image after which diagnostics report ERROR and the likely cause; 0: never.",
                "Choose a value longer than any intended pause of the camera.",
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
                "Names of several cameras. Each has the input <name>/image_raw and outputs such as "
                '~/<name>/depth/image_rect. [""] stands for an empty list: one camera on image_raw.',
                "One process runs the networks once for the waiting images of all cameras.",
            ),
            Option(
                "odometry_camera",
                "",
                "Name of the camera that provides odometry and TF; empty: the first of cameras.",
                "A robot has one odometry. Choose the camera that looks in the driving direction.",
            ),
            Option(
                "window_cameras",
                [""],
                'Names of the cameras that estimate their own motion; [""]: the odometry camera alone. '
                "The other cameras take its motion through /tf_static and estimate points only.",
                "Each additional window costs time. With one motion, all cameras have one scale.",
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
                "Threads of the networks on a CPU; 0: one less than the number of processors, at least one.",
                "One processor stays free for the robot. A thread without a free processor delays the others.",
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
                "Share of valid depths in an image below which diagnostics report WARN.",
                "Good recordings have 0.4 to 1.0. A dark, covered or dazzled lens has less.",
                low=0.0,
                high=1.0,
                live=True,
            ),
            Option(
                "depth_encoding",
                "32FC1",
                "Encoding of the depth image. 32FC1: float metres. 16UC1: millimetres, 0 for no value, at most "
                "65.535 m (REP-118).",
                "32FC1 distinguishes 'too far' (+Inf) from 'unreliable' (NaN).",
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
                "Frame whose motion is reported. /tf_static, or joints on /tf, connect it to the camera. The node "
                "publishes TF for the root above it (base_footprint), so that no frame gets two parents.",
                "Without a connection, the root of the camera's tree or the camera itself is used.",
            ),
            Option("odom_frame", "odom", "Frame in which the motion is reported (REP-105).", "It is rarely changed."),
            Option(
                "camera_frame",
                "",
                "Optical frame of the camera; empty: the frame_id of the image header.",
                "Set it for a driver whose frame_id is empty or wrong.",
            ),
            Option(
                "extrinsics_timeout_s",
                1.0,
                "Seconds to wait until /tf_static connects the camera to base_frame. Then the node continues without.",
                "Discovery takes up to 3 s, but most of that passes while the model loads.",
                low=0.0,
                high=60.0,
            ),
            Option(
                "publish_tf",
                True,
                "Publish odom_frame -> base_frame on /tf. While another node publishes it, this node holds it back and "
                "reports an error.",
                "A transform must have one publisher only.",
                live=True,
            ),
            Option(
                "invert_tf",
                False,
                "Publish base_frame -> odom_frame instead.",
                "Set it for a tree in which base_frame already has a parent.",
            ),
            Option(
                "publish_relative_odometry",
                True,
                "Publish odometry and TF while the scale is relative. They are in model units then, and the covariance "
                "says so.",
                "The shape of the path is right. Set it to false if a filter would take the units for metres.",
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
                "A topic name that ends in /compressed always means compressed.",
                choices=("raw", "compressed"),
            ),
            Option(
                "reliability",
                "auto",
                "QoS reliability of the image subscription. auto takes what the publishers offer and follows changes.",
                "A reliable subscription receives nothing from a best-effort camera.",
                choices=("auto", "reliable", "best_effort"),
                live=True,
            ),
            Option(
                "rectified_input",
                "auto",
                "Whether the images are already rectified. P of camera_info is then the camera, and D is not applied.",
                "auto means yes if the last part of the topic name has the word 'rect' or 'rectified'.",
                choices=("auto", "yes", "no"),
            ),
            Option(
                "camera_info_timeout_s",
                2.0,
                "Seconds to wait for camera_info after the first image. Then the node continues uncalibrated.",
                "An uncalibrated camera gives a depth image only: no cloud, no odometry, no TF.",
                low=0.0,
                high=60.0,
            ),
            Option(
                "max_rate_hz",
                0.0,
                "Largest number of images processed per second, evenly chosen by their stamps; 0: as many as the "
                "machine can process.",
                "A limit leaves processor or GPU time to the rest of the robot.",
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
                "QoS reliability of images, clouds and odometry.",
                "Reliable reaches every subscriber; best_effort never waits for a slow one.",
                choices=("reliable", "best_effort"),
            ),
            Option(
                "lazy",
                True,
                "Convert and publish images and clouds only while someone subscribes.",
                "A cloud without subscribers would cost as much as one that is used.",
                live=True,
            ),
            Option(
                "cloud_min_height_m",
                0.1,
                "Height of the lowest points in ~/points_filtered, metres along z of base_frame.",
                "The default removes the floor, with a margin for errors in its height.",
                low=-1000.0,
                high=1000.0,
                live=True,
            ),
            Option(
                "cloud_max_height_m",
                2.0,
                "Height of the highest points in ~/points_filtered, metres along z of base_frame.",
                "Set it to the robot's height, so that the robot can drive under what it fits under.",
                low=-1000.0,
                high=1000.0,
                live=True,
            ),
            Option(
                "cloud_max_range_m",
                10.0,
                "Largest distance from the camera to points in ~/points_filtered, metres; 0: any.",
                "Depth errors grow with distance. A local costmap needs no more.",
                low=0.0,
                high=10000.0,
                live=True,
            ),
            Option(
                "cloud_voxel_m",
                0.05,
                "Edge length in metres of the voxels in which ~/points_filtered keeps one point; 0: all points stay.",
                "The default is the resolution of nav2's costmaps. Fewer points are marked faster.",
                low=0.0,
                high=100.0,
                live=True,
            ),
            Option(
                "cloud_dense",
                True,
                "true: ~/points_filtered is one row without NaN. false: it has the rows of the image, with NaN for "
                "removed points.",
                "Some subscribers take NaN for a point. Others need the rows of the image.",
                live=True,
            ),
        ),
    ),
)

SCHEMA: dict[str, Option] = {p.name: p for _, parameters in SECTIONS for p in parameters}

_HEAD = """Parameters of depth_node, all at their defaults. Generated by python -m featdepth_ros.ros.parameters.
Do not edit this file. Copy it and pass your copy:
ros2 launch featdepth_ros depth.launch.py params_file:=/path/to/mine.yaml
'live' parameters take effect at once (ros2 param set). The others are read by configure. To change one:
ros2 lifecycle set /depth_node deactivate, then cleanup, set the parameter, then configure and activate."""

_PAGE = """# Parameters

These are the parameters of `depth_node`. `config/depth.yaml` holds all of them at their defaults; pass a changed copy
with `params_file:=/path/to/mine.yaml`. A live parameter takes effect at once (`ros2 param set`). The others are read
when the node is configured: deactivate it, clean it up, set them, configure and activate it again.

This page is generated by `python -m featdepth_ros.ros.parameters`.

"""
_REFINE = """
## refine_node

These are the parameters of `refine_node`, see [Refinement on the robot](online-refinement.md). `config/refine.yaml`
holds all of them at their defaults. A parameter that is not live is read when the node starts.

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
