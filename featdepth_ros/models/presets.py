"""Facts that the published checkpoints do not contain: depth range, sizes, scale (docs/reference.md 1, 2 and 5)."""

from __future__ import annotations

from featdepth_ros.errors import CheckpointError, nearest_name
from featdepth_ros.models.info import ModelInfo

_SOURCE = "published with FeatDepth (code under MIT, Shu et al. 2020); the terms of the {} data set apply"

#: Facts by preset. All pose nets were trained at 192x640, independent of the depth net's size (docs/reference.md 2).
PRESETS: dict[str, ModelInfo] = {
    # The training used a stereo baseline of 0.015 instead of the true 0.54 m, so one unit is 36 metres. One intrinsic
    # matrix was used for all drives: fx = 0.58 width, fy = 1.92 height.
    "kitti": ModelInfo(
        name="featdepth-kitti",
        input_size=(320, 1024),
        focal=(0.58, 1.92),
        scale_kind="metric",
        scale_factor=36.0,
        metric_height_m=1.65,
        metric_place="streets, from a car",
        licence=_SOURCE.format("KITTI"),
    ),
    "kitti_odom": ModelInfo(
        name="featdepth-kitti-odom",
        input_size=(320, 1024),
        focal=(0.58, 1.92),
        scale_kind="metric",
        scale_factor=36.0,
        metric_height_m=1.65,
        metric_place="streets, from a car",
        licence=_SOURCE.format("KITTI"),
    ),
    # The training used a baseline of 0.1 instead of the rig's 0.11 m, so one unit is 1.1 metres.
    "euroc": ModelInfo(
        name="featdepth-euroc",
        max_depth=50.0,
        input_size=(480, 768),
        focal=(435.2047 / 752, 435.2047 / 480),
        scale_kind="metric",
        scale_factor=1.1,
        licence=_SOURCE.format("EuRoC MAV"),
    ),
    # Neither configuration nor loader were published, so the range is the code's default, and the focal length unknown.
    "nyu": ModelInfo(name="featdepth-nyu", input_size=(448, 640), licence=_SOURCE.format("NYU Depth v2")),
    # The training used a baseline of 0.1, and the code does not contain the rig's true one, so the scale is relative.
    "eth3d": ModelInfo(
        name="featdepth-eth3d",
        input_size=(448, 736),
        focal=(0.9832, 1.58578),
        licence=_SOURCE.format("ETH3D"),
    ),
    "make3d": ModelInfo(
        name="featdepth-make3d",
        input_size=(320, 1024),
        focal=(0.9765, 1.736),
        licence=_SOURCE.format("Make3D"),
    ),
}

#: Camera height in metres, place, and standard deviation of the log scale at which the metres of shipped weights hold.
#: These weights, given by name, do not contain the facts themselves. The deviations are from docs/results.md.
METRES_HOLD: dict[str, tuple[float, str, float]] = {
    "compact-nc": (1.65, "streets, from a car", 0.2),
    "compact-open": (1.65, "streets, from a car", 0.3),
}


def with_known_facts(info: ModelInfo) -> ModelInfo:
    """Return the facts of a file, completed by the facts known here about shipped weights."""
    if info.metric_height_m > 0 or info.name not in METRES_HOLD:
        return info
    height_m, place, sigma = METRES_HOLD[info.name]
    return info.with_(metric_height_m=height_m, metric_place=place, scale_sigma=sigma)


def preset_info(name: str) -> ModelInfo:
    """Return the facts of a preset.

    Raises:
        CheckpointError: the preset is unknown; the message names the most similar one.
    """
    if name not in PRESETS:
        raise CheckpointError(f"unknown preset '{name}'{nearest_name(name, PRESETS)}")
    return PRESETS[name]
