"""Camera models: what the pixels of one image mean. Immutable, numpy only; tensors come in `chain.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError

DistortionModel = Literal["none", "plumb_bob", "rational_polynomial", "equidistant"]

#: Number of coefficients each model takes; shorter lists are refused, plumb_bob may have 4 (k3 = 0).
COEFFICIENTS: dict[str, tuple[int, ...]] = {
    "none": (0,),
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}


@dataclass(frozen=True)
class CameraModel:
    """A camera in the sense of sensor_msgs/CameraInfo (REP-104), free of ROS.

    Intrinsics are in pixels of the full sensor image (before ROI and binning), pixel centres at integers.
    For most cameras ROI and binning are absent and the full sensor image is the delivered image.

    Attributes:
        width, height: size in pixels of the full sensor image.
        fx, fy, cx, cy: K, pixels.
        distortion_model: ``none``, ``plumb_bob`` (k1 k2 p1 p2 [k3]), ``rational_polynomial`` (OpenCV order) or
            ``equidistant`` (Kannala-Brandt k1..k4, OpenCV fisheye).
        distortion: the coefficients, OpenCV order.
        rectification: row-major 3x3 R (raw camera to rectified camera), or None for identity.
        projection: (fx', fy', cx', cy') of P, the rectified camera; None: the same as K.
        roi: (x_offset, y_offset, width, height) in full-resolution pixels, or None.
        binning: (binning_x, binning_y), at least 1.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: DistortionModel = "none"
    distortion: tuple[float, ...] = ()
    rectification: tuple[float, ...] | None = None
    projection: tuple[float, float, float, float] | None = None
    roi: tuple[int, int, int, int] | None = None
    binning: tuple[int, int] = field(default=(1, 1))

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise CalibrationError(f"camera size is {self.width}x{self.height}; expected positive width and height")
        values = (self.fx, self.fy, self.cx, self.cy, *self.distortion)
        if not all(math.isfinite(v) for v in values):
            raise CalibrationError(f"camera intrinsics hold a non-finite value: {values}")
        if self.fx <= 0 or self.fy <= 0:
            raise CalibrationError(f"focal lengths are ({self.fx}, {self.fy}) px; expected both above 0")
        if self.distortion_model not in COEFFICIENTS:
            raise CalibrationError(
                f"distortion model '{self.distortion_model}' is not known; expected one of {', '.join(COEFFICIENTS)}"
            )
        if len(self.distortion) not in COEFFICIENTS[self.distortion_model]:
            raise CalibrationError(
                f"distortion model '{self.distortion_model}' has {len(self.distortion)} coefficients; "
                f"expected {' or '.join(map(str, COEFFICIENTS[self.distortion_model]))}"
            )
        if self.rectification is not None and len(self.rectification) != 9:
            raise CalibrationError(f"rectification has {len(self.rectification)} numbers; expected 9 (row-major 3x3)")
        if self.binning[0] < 1 or self.binning[1] < 1:
            raise CalibrationError(f"binning is {self.binning}; expected at least 1 in both directions")

    @property
    def K(self) -> NDArray[np.float64]:  # noqa: N802 - the field's name
        """3x3 intrinsics of the full sensor image, pixels."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def is_pinhole(self) -> bool:
        """True when the delivered image is the ideal pinhole image of K: no distortion, rectification, ROI, binning."""
        return (
            self.distortion_model != "equidistant"  # its zero coefficients are still a fisheye
            and not any(self.distortion)
            and self.rectification is None
            and self.projection in (None, (self.fx, self.fy, self.cx, self.cy))
            and self.roi is None
            and self.binning == (1, 1)
        )

    @property
    def delivered_size(self) -> tuple[int, int]:
        """(width, height) in pixels of the image the driver delivers: ROI cut out, then binned."""
        width, height = (self.roi[2], self.roi[3]) if self.roi else (self.width, self.height)
        return width // self.binning[0], height // self.binning[1]

    def resized(self, width: int, height: int) -> CameraModel:
        """Return the camera of this pinhole image resized to ``width`` x ``height`` (pixel centres at integers).

        Raises:
            CalibrationError: the camera is not a plain pinhole; rectify first (see `geometry.chain`).
        """
        if not self.is_pinhole:
            raise CalibrationError("only a pinhole camera can be resized; rectify the image first")
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
            projection=None,
        )
