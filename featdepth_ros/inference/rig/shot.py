"""One image of one camera, the input of `Rig.steps`. It needs no torch, which a node imports only for the networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel


@dataclass(frozen=True, eq=False)
class Shot:
    """One image of one camera.

    Attributes:
        camera: name of the camera.
        image: (H, W, 3) uint8 RGB as delivered.
        calibration: calibration of the camera; None: uncalibrated.
        stamp_ns: time of exposure, nanoseconds.
    """

    camera: str
    image: NDArray[np.uint8]
    calibration: CameraModel | None
    stamp_ns: int
