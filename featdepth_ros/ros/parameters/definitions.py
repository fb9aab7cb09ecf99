"""Every parameter of the node, once. The declaration, config/depth.yaml and the README's table are made from it.

After a change here: ``python -m featdepth_ros.ros.parameters config/depth.yaml`` (a test compares).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from featdepth_ros.ros.parameters.schema import Parameter, to_markdown, to_yaml

SECTIONS: tuple[tuple[str, tuple[Parameter, ...]], ...] = (
    (
        "node",
        (
            Parameter(
                "autostart",
                True,
                "Configure and activate without being asked.",
                "One command is enough; set it to false when a lifecycle manager drives the node.",
            ),
            Parameter(
                "watchdog_s",
                3.0,
                "Without a new image for this many seconds diagnostics turn to ERROR and name the likely cause.",
                "Longer than any pause a camera makes on purpose; 0 switches it off.",
                low=0.0,
                high=3600.0,
                live=True,
            ),
            Parameter(
                "diagnostics_period_s",
                1.0,
                "Seconds between messages on /diagnostics.",
                "What diagnostic_aggregator expects.",
                low=0.1,
                high=60.0,
            ),
        ),
    ),
    (
        "networks",
        (
            Parameter(
                "weights",
                "compact",
                "Path of a weights file (.safetensors, or a published .pth), or the name of a model that ships.",
                "The compact model runs on a CPU.",
            ),
            Parameter(
                "preset",
                "",
                "Depth range and scale a published .pth file does not carry: kitti, kitti_odom, euroc, nyu...",
                "Empty for files that know it themselves.",
            ),
            Parameter(
                "device",
                "auto",
                "Where the networks run: auto, cpu, cuda, cuda:0...",
                "auto takes a GPU when PyTorch finds one.",
            ),
            Parameter(
                "cpu_threads",
                0,
                "Threads the networks use on a CPU; 0: one less than there are processors, at least one.",
                "One processor stays for the rest of the robot; threads that find none free hold up the others.",
                low=0,
                high=256,
            ),
            Parameter(
                "precision",
                "auto",
                "Arithmetic of the networks; geometry is always fp32.",
                "auto takes bf16 where the processor is fast at it.",
                choices=("auto", "fp32", "bf16", "fp16"),
            ),
            Parameter(
                "input_height",
                0,
                "Rows the networks see, a multiple of 32; 0: as trained (the compact model takes the camera's aspect).",
                "Smaller is faster and coarser.",
                low=0,
                high=4096,
            ),
            Parameter(
                "input_width",
                0,
                "Columns the networks see, a multiple of 32; 0: as trained.",
                "Set both or none.",
                low=0,
                high=4096,
            ),
            Parameter(
                "output_size",
                "network",
                "Size of the depth image, cloud and image_rect: what the networks give, or that of the camera's image.",
                "The network's own size costs least and invents no detail.",
                choices=("network", "input"),
            ),
        ),
    ),
    (
        "depth",
        (
            Parameter(
                "min_depth",
                0.1,
                "Metres; nearer is published as -Inf (REP-117).",
                "Below it the networks have learned nothing.",
                low=0.001,
                high=1000.0,
            ),
            Parameter(
                "max_depth",
                80.0,
                "Metres; farther is published as +Inf (REP-117).",
                "Lower it indoors.",
                low=0.01,
                high=10000.0,
            ),
            Parameter(
                "depth_encoding",
                "32FC1",
                "32FC1: float metres. 16UC1: millimetres, 0 for no value, at most 65.535 m (REP-118).",
                "Float keeps 'too far' and 'unreliable' apart.",
                choices=("32FC1", "16UC1"),
                live=True,
            ),
        ),
    ),
    (
        "scale",
        (
            Parameter(
                "scale",
                "auto",
                "How network units become metres: as the weights say, never, by scale_factor or by camera_height_m.",
                "A single camera cannot see scale; while it is relative diagnostics warn.",
                choices=("auto", "relative", "factor", "camera_height"),
            ),
            Parameter(
                "scale_factor",
                1.0,
                "Metres per network unit, for scale: factor.",
                "36 for the published weights trained on stereo pairs.",
                low=1e-6,
                high=1e6,
            ),
            Parameter(
                "camera_height_m",
                1.5,
                "Height of the camera above the ground in metres, for scale: camera_height.",
                "Measure it; an error of 10 % is 10 % in every distance.",
                low=0.01,
                high=100.0,
            ),
            Parameter(
                "focal_compensation",
                True,
                "Correct depth for a focal length other than the training camera's.",
                "A longer lens makes everything look nearer than it is.",
            ),
        ),
    ),
    (
        "motion",
        (
            Parameter(
                "estimate_motion",
                True,
                "Run the pose network and publish odometry.",
                "Set it to false for depth alone.",
            ),
            Parameter(
                "motion",
                "auto",
                "network: the pose network's answer; aligned: sharpened on tracked points and depth; auto: aligned "
                "with the compact model.",
                "The pose network alone drifts more; published networks keep their own numbers.",
                choices=("auto", "network", "aligned"),
            ),
            Parameter(
                "standing_gate",
                True,
                "Hold the pose exactly still while the picture does not move.",
                "A standing robot must not drift.",
            ),
            Parameter(
                "max_gap_s",
                1.0,
                "Frames further apart than this are not compared; motion in between is unknown.",
                "The networks were trained on neighbouring frames.",
                low=0.01,
                high=60.0,
            ),
        ),
    ),
    (
        "frames",
        (
            Parameter(
                "base_frame",
                "base_link",
                "Frame whose motion is reported, connected to the camera by /tf_static.",
                "Without a connection the root of the camera's tree, or the camera itself, takes its place.",
            ),
            Parameter("odom_frame", "odom", "Frame the motion is reported in (REP-105).", "Rarely changed."),
            Parameter(
                "camera_frame",
                "",
                "Optical frame of the camera; empty: the image header's frame_id.",
                "For drivers that leave frame_id empty or wrong.",
            ),
            Parameter(
                "extrinsics_timeout_s",
                1.0,
                "Seconds to wait for /tf_static to connect the camera to base_frame before going on without.",
                "Discovery takes up to 3 s, but model loading has used most of that.",
                low=0.0,
                high=60.0,
            ),
            Parameter("publish_tf", True, "Publish odom_frame -> base_frame on /tf.", "One publisher only.", live=True),
            Parameter(
                "invert_tf",
                False,
                "Publish base_frame -> odom_frame instead.",
                "For trees in which base_frame has a parent already.",
            ),
            Parameter(
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
            Parameter(
                "image_transport",
                "raw",
                "raw subscribes to Image on image_raw, compressed to CompressedImage on image_raw/compressed.",
                "A topic that ends in /compressed is taken as compressed anyway.",
                choices=("raw", "compressed"),
            ),
            Parameter(
                "reliability",
                "auto",
                "QoS of the image subscription; auto takes what the publishers offer and follows changes.",
                "A reliable subscription to a best-effort camera stays silent.",
                choices=("auto", "reliable", "best_effort"),
                live=True,
            ),
            Parameter(
                "rectified_input",
                "auto",
                "Whether the image is rectified already, so that P of camera_info is its camera and D is not applied.",
                "auto: yes when the last part of the topic's name contains 'rect'.",
                choices=("auto", "yes", "no"),
            ),
            Parameter(
                "camera_info_timeout_s",
                2.0,
                "Seconds to wait for camera_info after the first image before going on uncalibrated.",
                "Uncalibrated means a depth image only: no cloud, no odometry, no TF.",
                low=0.0,
                high=60.0,
            ),
        ),
    ),
    (
        "output",
        (
            Parameter(
                "publisher_reliability",
                "reliable",
                "QoS of images, clouds and odometry.",
                "Reliable reaches every subscriber; best_effort never waits for a slow one.",
                choices=("reliable", "best_effort"),
            ),
            Parameter(
                "lazy",
                True,
                "Convert and publish images and clouds only while someone subscribes.",
                "A cloud nobody looks at costs as much as one that is used.",
                live=True,
            ),
        ),
    ),
)

SCHEMA: dict[str, Parameter] = {p.name: p for _, parameters in SECTIONS for p in parameters}

_HEAD = """Parameters of depth_node, all at their defaults. Made from featdepth_ros/ros/parameters.py; do not edit this
file, copy it and pass yours: ros2 launch featdepth_ros depth.launch.py params_file:=/path/to/mine.yaml
'live' parameters take effect at once (ros2 param set); the others are read by configure:
ros2 lifecycle set /depth_node deactivate, then cleanup, set them, configure, activate."""


def yaml_text() -> str:
    """Return the text of config/depth.yaml."""
    return to_yaml(SECTIONS, _HEAD)


def markdown_table() -> str:
    """Return the README's table."""
    return to_markdown(SECTIONS)


def main(arguments: Sequence[str]) -> int:
    """Write config/depth.yaml to the path given, or the README's table to standard output."""
    if arguments:
        Path(arguments[0]).write_text(yaml_text(), encoding="utf-8")
    else:
        sys.stdout.write(markdown_table())
    return 0
