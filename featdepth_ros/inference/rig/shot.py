"""One image of one camera, as `Rig.steps` takes it. Needs no torch: a node makes shots before the networks load."""

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
        calibration: of the camera; None: uncalibrated.
        stamp_ns: time of exposure, nanoseconds.
    """

    camera: str
    image: NDArray[np.uint8]
    calibration: CameraModel | None
    stamp_ns: int
