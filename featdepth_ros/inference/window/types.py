"""Result types of the window. Lengths are in published units: metres, or map units while the scale is relative.

The frame of reference is a camera's optical frame (x right, y down, z forward). ``T_a_b`` maps points in b's
coordinates to a's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.window.prior import InverseDepthFit

Floats = NDArray[np.float64]


class WindowState(str, Enum):
    """Source of a frame's motion."""

    FIRST = "first"  # the first frame, or the first after `reset`: there is no motion yet
    STARTING = "starting"  # no depth is known yet, and there is too little parallax to measure it; unknown motion
    TRACKED = "tracked"  # estimated from the tracks
    NETWORK = "network"  # tracking failed; the pose network's motion agrees with the image and is used
    LOST = "lost"  # both failed; the motion is unknown and the window restarts from this frame


class ScaleOrigin(str, Enum):
    """Source of the factor between the map's unit and the published unit."""

    MAP = "map"  # none: map units are published
    NETWORK = "network"  # the running median of the network's scale
    ROAD = "road"  # the road plane and the known height of the camera
    SPEED = "speed"  # the measured speed of the robot


@dataclass(frozen=True)
class WindowPoints:
    """Points in the newest image, measured by several images.

    Attributes:
        ids: (N,) int64; a point keeps its id as long as it exists.
        pixels: (N, 2) float64; measured columns and rows in the newest image.
        depth: (N,) float64; z-depth in the newest camera, published units, above 0.
        log_variance: (N,) float64; variance of the natural logarithm of ``depth``, without the common scale.
        information: (N,) float64; the part of ``1 / log_variance`` from images, without the prior of the network.
            It is 0 for a point without parallax.
    """

    ids: NDArray[np.int64]
    pixels: Floats
    depth: Floats
    log_variance: Floats
    information: Floats

    @staticmethod
    def none() -> WindowPoints:
        """Return a value without points."""
        empty = np.zeros(0)
        return WindowPoints(np.zeros(0, dtype=np.int64), np.zeros((0, 2)), empty, empty, empty)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class WindowResult:
    """Result of one frame.

    Attributes:
        state: see `WindowState`.
        T_previous_current: (4, 4) float64; pose of the newest camera in the previous frame's camera, published
            units. The identity when ``state`` is FIRST, STARTING or LOST.
        covariance: (6, 6) float64 of (x y z, rotation about x y z) of that motion in the previous camera's axes, unit^2
            and rad^2. The uncertainty of the common scale is included. Huge when ``state`` is FIRST, STARTING or LOST.
        residual_px: median reprojection error of the inlier tracks, pixels; NaN without inliers.
        tracks: number of inlier tracks.
        is_keyframe: whether the frame became a keyframe.
        scale: factor from the map's unit to the published unit.
        scale_log_variance: variance of the natural logarithm of ``scale``.
        scale_origin: see `ScaleOrigin`.
        points: see `WindowPoints`.
        camera: pinhole camera of the image with the points.
        network: scale and shift from the network's inverse depth, as passed to `Window.step`, to published units. They
            belong to the last keyframe. None without a network's depth.
    """

    state: WindowState
    T_previous_current: Floats
    covariance: Floats
    residual_px: float
    tracks: int
    is_keyframe: bool
    scale: float
    scale_log_variance: float
    scale_origin: ScaleOrigin
    points: WindowPoints
    camera: CameraModel | None = None
    network: InverseDepthFit | None = None
