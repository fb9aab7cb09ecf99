"""Frames of a recording, which all readers yield and all writers take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel


@dataclass(frozen=True)
class Partner:
    """The image of a second, rigidly mounted camera at the same time (the other half of a stereo pair).

    Attributes:
        image: (H, W, 3) uint8 RGB, as delivered by the partner camera (not rectified); its size may be another.
        stamp_ns: time of exposure, nanoseconds.
        camera: calibration of the partner, or None when the recording has none.
        T_partner_camera: (4, 4) float64, metres; maps points of the frame's camera to the partner. Both coordinate
            frames are those after rectification by each `CameraModel.R` (the identity for most cameras). A right-hand
            partner of a rectified pair has -baseline at [0, 3].
    """

    image: NDArray[np.uint8]
    stamp_ns: int
    camera: CameraModel | None
    T_partner_camera: NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """An image with its stamp, its calibration and, if the recording has it, ground truth.

    Attributes:
        image: (H, W, 3) uint8 RGB, as delivered by the camera (not rectified).
        stamp_ns: time of exposure, nanoseconds. Readers without stamps count at the given rate.
        name: stem for output files, unique within the recording and in frame order.
        camera: calibration, or None when the recording has none.
        depth: (H, W) float32 true z-depth in metres, NaN where unknown; None if the recording has none.
        T_world_camera: (4, 4) float64 pose of the camera (optical axes) in a fixed world; None when unknown.
        partner: image of the stereo partner at the same time; None if there is none or none was requested.
        moving: (H, W) bool, True where the pixel shows an object that moves; None if unknown.
    """

    image: NDArray[np.uint8]
    stamp_ns: int
    name: str
    camera: CameraModel | None = None
    depth: NDArray[np.float32] | None = None
    T_world_camera: NDArray[np.float64] | None = None
    partner: Partner | None = None
    moving: NDArray[np.bool_] | None = None
