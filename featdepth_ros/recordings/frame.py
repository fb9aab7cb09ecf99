"""One frame of a recording: what every reader yields and every writer takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel


@dataclass(frozen=True)
class Partner:
    """The image a second, rigidly mounted camera took at the same time (the other half of a stereo pair).

    Attributes:
        image: (H, W, 3) uint8 RGB, as delivered by the partner camera (not rectified); its size may be another.
        stamp_ns: time of exposure, nanoseconds.
        camera: calibration of the partner, or None when the recording has none.
        T_partner_camera: (4, 4) float64, metres; maps points of the frame's camera to the partner. Both frames are the
            rectified ones, after each `CameraModel.R` (the identity for most cameras): what holds between the images
            that rectification delivers. A right-hand partner of a rectified pair has -baseline at [0, 3].
    """

    image: NDArray[np.uint8]
    stamp_ns: int
    camera: CameraModel | None
    T_partner_camera: NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """An image with its stamp, its calibration and, where the recording has it, the truth.

    Attributes:
        image: (H, W, 3) uint8 RGB, as delivered by the camera (not rectified).
        stamp_ns: time of exposure, nanoseconds. Readers without stamps count at the given rate.
        name: stem for output files, unique within the recording and in frame order.
        camera: calibration, or None when the recording has none.
        depth: (H, W) float32 z-depth in metres, NaN where unknown; None when there is no truth.
        T_world_camera: (4, 4) float64 pose of the camera (optical axes) in a fixed world; None when unknown.
        partner: the stereo partner's image of the same time; None where there is none or none was asked for.
        moving: (H, W) bool, True where the pixel shows a thing that moves by itself; None when unknown.
    """

    image: NDArray[np.uint8]
    stamp_ns: int
    name: str
    camera: CameraModel | None = None
    depth: NDArray[np.float32] | None = None
    T_world_camera: NDArray[np.float64] | None = None
    partner: Partner | None = None
    moving: NDArray[np.bool_] | None = None
