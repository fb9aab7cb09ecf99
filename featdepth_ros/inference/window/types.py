"""What the window takes and gives. Lengths are in published units: metres, or map units while the scale is relative.

Frames of reference: a camera's optical frame (x right, y down, z forward). ``T_a_b`` maps points in b's coordinates
to a's.
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
    """Where the motion of a frame comes from."""

    FIRST = "first"  # nothing to compare with: the first frame, or the first after `reset`
    STARTING = "starting"  # no depth is known yet, and the camera has not moved enough to measure it; motion unknown
    TRACKED = "tracked"  # solved from the tracks
    NETWORK = "network"  # tracks failed; the pose network's motion explains the picture and is taken
    LOST = "lost"  # neither; the motion is unknown and the window starts anew from this frame


class ScaleOrigin(str, Enum):
    """What binds the map's unit to the published unit."""

    MAP = "map"  # nothing: map units are published
    NETWORK = "network"  # the slow median of the network's scale
    ROAD = "road"  # the road plane and the known height of the camera
    SPEED = "speed"  # the measured speed of the robot


@dataclass(frozen=True)
class WindowPoints:
    """Points that the newest image shows, measured by several images.

    Attributes:
        ids: (N,) int64; a point keeps its id for as long as it lives.
        pixels: (N, 2) float64; columns and rows in the newest image, where the point was found.
        depth: (N,) float64; z-depth in the newest camera, published units, above 0.
        log_variance: (N,) float64; variance of the natural logarithm of ``depth``, common scale excluded.
        information: (N,) float64; the part of ``1 / log_variance`` that images gave, the prior of the network not.
            0 where a point has shown no parallax.
    """

    ids: NDArray[np.int64]
    pixels: Floats
    depth: Floats
    log_variance: Floats
    information: Floats

    @staticmethod
    def none() -> WindowPoints:
        """No points."""
        empty = np.zeros(0)
        return WindowPoints(np.zeros(0, dtype=np.int64), np.zeros((0, 2)), empty, empty, empty)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class WindowResult:
    """What one frame gave.

    Attributes:
        state: see `WindowState`.
        T_previous_current: (4, 4) float64; pose of the newest camera in the previous frame's camera, published
            units. The identity when ``state`` is FIRST, STARTING or LOST.
        covariance: (6, 6) float64 of (x y z, rotation about x y z) of that motion in the previous camera's axes, unit^2
            and rad^2. The uncertainty of the common scale is included. Huge when ``state`` is FIRST, STARTING or LOST.
        residual_px: median reprojection error of the tracks that agree, pixels; NaN without any.
        tracks: number of tracks that agree with the motion.
        is_keyframe: whether the frame became a keyframe.
        scale: factor from the map's unit to the published unit.
        scale_log_variance: variance of the natural logarithm of ``scale``.
        scale_origin: see `ScaleOrigin`.
        points: see `WindowPoints`.
        camera: pinhole camera of the picture that the points lie in.
        network: what the network's inverse depth at the last keyframe is worth in published units, as given to
            `Window.step`; None without a network's depth.
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
