"""Settings of the window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from featdepth_ros.errors import ConfigError


@dataclass(frozen=True)
class WindowConfig:
    """How the window works. The defaults were measured on KITTI; see docs/results.md.

    Attributes:
        scale: what binds the map's unit to the published one: ``relative`` (nothing: map units are published),
            ``network`` (the network's scale, slowly), ``camera_height`` (the road plane).
        camera_height_m: height of the camera above the road, metres, for ``camera_height``.
        keyframes: newest keyframes that are solved for, together with the newest frame.
        older_keyframes: keyframes before those that stay, held fixed. They carry scale and heading on: without them
            the window forgets both.
        points: points to track.
        sigma_px: standard deviation of a track, pixels. Larger than what one match has (0.2 to 0.3), since the errors
            of one point in successive frames are alike.
        huber_px, outlier_px: reprojection errors beyond these count less, and hardly.
        sigma_prior, huber_prior: of the network's log depth at a point, its keyframe's scale taken out; and the error
            beyond which it counts less.
        prior: what the network's depth is right up to. ``scale`` means z-depth and one factor a keyframe.
            ``scale_and_shift`` means inverse depth, a factor and an offset a keyframe (see `prior`).
        sigma_scale, sigma_shift: of a keyframe's log scale, and of its shift over the picture's median inverse depth.
            Both are around what the points that it saw again said.
        iterations: Gauss-Newton steps a frame; the start is the last frame's answer, so few are needed.
        keyframe_parallax: median parallax of the tracks, rotation taken out, that makes a keyframe; share of the width.
        keyframe_tracks: share of the last keyframe's tracks below which one is made.
        keyframe_age: frames after which one is made.
        least_tracks: tracks that make a motion.
        scale_keyframes: keyframes over which the network's scale is a median.
        min_depth, max_depth: range in which the network's depth is believed, published units.
        calibrate: solve for the radial error of the calibration, see `lens`.
        sigma_radial: of that error, before anything was seen.
        radial_turn_rad: turn within the window that shows the error; a straight way hardly does.
        drop_px: reprojection error beyond which a point is not used again.
        agree_px: reprojection error below which a track agrees.
        known_information: information of a point's log depth that lets it judge the network's scale.
        rolling_shutter_s: seconds from the exposure of the first row to that of the last; 0: all at once.
        patience: frames that the map waits for the picture to come back while the pose network answers.
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
                "scale is 'network' and the network's depth is known up to a scale and a shift, so it tells no unit; "
                "set scale to 'relative' or 'camera_height'"
            )
        if not 0 < self.min_depth < self.max_depth:
            raise ConfigError(
                f"depth range is {self.min_depth} to {self.max_depth}; expected 0 < min_depth < max_depth"
            )
