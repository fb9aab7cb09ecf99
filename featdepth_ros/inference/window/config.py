"""Settings of the window of keyframes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from featdepth_ros.errors import ConfigError


@dataclass(frozen=True)
class WindowConfig:
    """Settings of the window. The defaults were tuned on KITTI; see docs/results.md.

    Attributes:
        scale: source of the published unit: ``relative`` (map units are published), ``network`` (a slow average of the
            network's scale), ``camera_height`` (the road plane).
        camera_height_m: height of the camera above the road, metres, for ``camera_height``.
        keyframes: number of newest keyframes that are optimised, together with the newest frame.
        older_keyframes: number of keyframes before those, which are kept fixed. They preserve scale and heading.
        points: number of points to track.
        sigma_px: standard deviation of a track, pixels. It is larger than that of one match (0.2 to 0.3), since the
            errors of a point in successive frames are correlated.
        huber_px, outlier_px: reprojection errors above which a track has a lower weight, and almost none, pixels.
        sigma_prior, huber_prior: standard deviation of the network's log depth at a point without its keyframe's scale,
            and the error above which its weight is lower.
        prior: unknowns of the network's depth. ``scale`` means z-depth with one factor per keyframe.
            ``scale_and_shift`` means inverse depth with a factor and an offset per keyframe (see `prior`).
        sigma_scale, sigma_shift: standard deviations of a keyframe's log scale, and of its shift relative to the median
            inverse depth. Their means come from the points that the keyframe saw again.
        iterations: Gauss-Newton steps per frame; few suffice, because they start from the last frame's solution.
        keyframe_parallax: median parallax of the tracks without rotation that creates a keyframe, as a share of the
            width.
        keyframe_tracks: share of the last keyframe's tracks below which a keyframe is created.
        keyframe_age: number of frames after which a keyframe is created.
        least_tracks: least number of tracks for a motion.
        scale_keyframes: number of keyframes in the median of the network's scale.
        min_depth, max_depth: range in which the network's depth is used, published units.
        calibrate: estimate the radial error of the calibration, see `lens`.
        sigma_radial: prior standard deviation of that error.
        radial_turn_rad: rotation within the window that makes the error observable; a straight path hardly does.
        drop_px: reprojection error above which a point is removed, pixels.
        agree_px: reprojection error below which a track is an inlier, pixels.
        known_information: least information of a point's log depth to measure the network's scale.
        rolling_shutter_s: seconds from the exposure of the first row to that of the last; 0: a global shutter.
        patience: number of frames without tracks after which the map is dropped; the pose network bridges them.
    """

    scale: Literal["relative", "network", "camera_height"] = "network"
    camera_height_m: float = 1.5
    keyframes: int = 8
    older_keyframes: int = 20
    points: int = 500
    sigma_px: float = 0.7
    huber_px: float = 1.0
    outlier_px: float = 5.0
    sigma_prior: float = 1.0
    huber_prior: float = 0.3
    prior: Literal["scale", "scale_and_shift"] = "scale"
    sigma_scale: float = 0.03
    sigma_shift: float = 0.1
    iterations: int = 2
    keyframe_parallax: float = 0.02
    keyframe_tracks: float = 0.6
    keyframe_age: int = 10
    least_tracks: int = 12
    scale_keyframes: int = 60
    min_depth: float = 0.3
    max_depth: float = 70.0
    calibrate: bool = True
    sigma_radial: float = 0.02
    radial_turn_rad: float = 0.2
    drop_px: float = 4.0
    agree_px: float = 2.5
    known_information: float = 25.0
    rolling_shutter_s: float = 0.0
    patience: int = 2

    def __post_init__(self) -> None:
        if self.scale == "camera_height" and not 0 < self.camera_height_m < math.inf:
            raise ConfigError(f"camera_height_m is {self.camera_height_m}; expected a positive number of metres")
        if self.keyframes < 2 or self.older_keyframes < 0 or self.points < 20 or self.iterations < 1:
            raise ConfigError(
                f"window of {self.keyframes} + {self.older_keyframes} keyframes, {self.points} points, "
                f"{self.iterations} iterations; expected at least 2 + 0, 20 and 1"
            )
        if self.prior == "scale_and_shift" and self.scale == "network":
            raise ConfigError(
                "scale is 'network', but prior is 'scale_and_shift', with which the network's depth has no unit; set "
                "scale to 'relative' or 'camera_height'"
            )
        if not 0 < self.min_depth < self.max_depth:
            raise ConfigError(
                f"depth range is {self.min_depth} to {self.max_depth}; expected 0 < min_depth < max_depth"
            )
