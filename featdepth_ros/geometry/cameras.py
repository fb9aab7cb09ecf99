"""Camera models. They are immutable and use numpy only; for tensors see `rectification.py`.

Pixels of a delivered image follow REP-104: the region of interest is cut from the full sensor image, then binned.
A binned pixel is a block of sensor pixels, and its position is the block's centre:
``u_delivered = (u_full - x_offset + 0.5) / binning - 0.5``. image_geometry omits the two halves, so its rays differ by
a quarter of a binned pixel at binning 2. Without binning both agree exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry import distortion

DistortionModel = Literal["none", "plumb_bob", "rational_polynomial", "equidistant"]

#: Largest half angle of view, degrees, of the pinhole camera for a fisheye without P.
FISHEYE_HALF_VIEW_DEG = 50.0

#: Allowed numbers of coefficients of each model; with 4 of plumb_bob, k3 is 0.
COEFFICIENTS: dict[str, tuple[int, ...]] = {
    "none": (0,),
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}


@dataclass(frozen=True)
class CameraModel:
    """A camera model as in sensor_msgs/CameraInfo (REP-104), without ROS.

    Intrinsics are in pixels of the full sensor image (before ROI and binning), pixel centres at integers.
    For most cameras ROI and binning are absent and the full sensor image is the delivered image.

    Attributes:
        width, height: size of the full sensor image, pixels.
        fx, fy, cx, cy: intrinsics K, pixels.
        distortion_model: ``none``, ``plumb_bob`` (k1 k2 p1 p2 [k3]), ``rational_polynomial`` (OpenCV order) or
            ``equidistant`` (Kannala-Brandt k1..k4, OpenCV fisheye).
        distortion: distortion coefficients in OpenCV's order.
        rectification: row-major 3x3 R (raw camera to rectified camera), or None for identity.
        projection: (fx', fy', cx', cy') of P, the rectified camera; None: see `rectified`.
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
            raise CalibrationError(f"camera intrinsics hold a non-finite value: {values}; expected finite numbers")
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
        if self.projection is not None and not (
            len(self.projection) == 4
            and all(math.isfinite(v) for v in self.projection)
            and min(self.projection[:2]) > 0
        ):
            raise CalibrationError(
                f"projection is {self.projection}; expected finite fx', fy', cx', cy', fx' and fy' > 0"
            )
        if self.rectification is not None:
            rotation = np.reshape(self.rectification, (3, 3))
            if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
                raise CalibrationError(
                    f"rectification {self.rectification} is not a rotation; expected a row-major 3x3"
                )
        if self.roi is not None and not (
            self.roi[0] >= 0
            and self.roi[1] >= 0
            and self.roi[2] > 0
            and self.roi[3] > 0
            and self.roi[0] + self.roi[2] <= self.width
            and self.roi[1] + self.roi[3] <= self.height
        ):
            raise CalibrationError(
                f"region of interest (x, y, width, height) is {self.roi}; "
                f"expected one inside the full image, {self.width}x{self.height}"
            )
        if self.binning[0] < 1 or self.binning[1] < 1:
            raise CalibrationError(f"binning is {self.binning}; expected at least 1 in both directions")

    @property
    def K(self) -> NDArray[np.float64]:  # noqa: N802 - the field's name
        """3x3 intrinsic matrix of the full sensor image, pixels."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def R(self) -> NDArray[np.float64]:  # noqa: N802 - the field's name
        """3x3 rotation from the raw camera's frame to the rectified camera's."""
        return np.eye(3) if self.rectification is None else np.reshape(self.rectification, (3, 3)).astype(np.float64)

    @property
    def is_distorted(self) -> bool:
        """Whether the image has lens distortion."""
        return self.distortion_model == "equidistant" or any(self.distortion)

    @property
    def is_pinhole(self) -> bool:
        """Whether the delivered image is the pinhole image of K, without distortion, rectification, ROI and binning."""
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
        """(width, height) of the driver's images in pixels, after ROI and binning."""
        width, height = (self.roi[2], self.roi[3]) if self.roi else (self.width, self.height)
        return width // self.binning[0], height // self.binning[1]

    @property
    def rectified(self) -> CameraModel:
        """Pinhole camera of the rectified full image (before ROI and binning).

        It is P if the calibration has one, otherwise K. A fisheye without P keeps K's focal length, unless the view
        would exceed `FISHEYE_HALF_VIEW_DEG` on any side. In that case both focal lengths are increased by one factor to
        this limit, because a pinhole image of 160 degrees is mostly stretched border.
        """
        fx, fy, cx, cy = self.projection or (self.fx, self.fy, self.cx, self.cy)
        if self.projection is None and self.distortion_model == "equidistant":
            tangent = math.tan(math.radians(FISHEYE_HALF_VIEW_DEG))
            half_width = max(cx + 0.5, self.width - 0.5 - cx)
            half_height = max(cy + 0.5, self.height - 0.5 - cy)
            factor = max(1.0, half_width / tangent / fx, half_height / tangent / fy)
            fx, fy = fx * factor, fy * factor
        return CameraModel(width=self.width, height=self.height, fx=fx, fy=fy, cx=cx, cy=cy)

    @property
    def delivered_view(self) -> CameraModel:
        """Pinhole camera of the rectified delivered image: the ROI of `rectified`, binned, as in image_proc."""
        full = self.rectified
        x_offset, y_offset = (self.roi[0], self.roi[1]) if self.roi else (0, 0)
        width, height = self.delivered_size
        bx, by = self.binning
        return CameraModel(
            width=width,
            height=height,
            fx=full.fx / bx,
            fy=full.fy / by,
            cx=(full.cx - x_offset + 0.5) / bx - 0.5,
            cy=(full.cy - y_offset + 0.5) / by - 0.5,
        )

    def distort(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distorted normalised points (..., 2) of ideal normalised points (..., 2) of the raw camera."""
        return distortion.distort(points, self.distortion_model, self.distortion)

    def project(self, rays: NDArray[np.float64]) -> NDArray[np.float64]:
        """Project directions or points (..., 3) in the raw camera's frame to pixels (..., 2) of the delivered image.

        The result is finite for every finite input; `sees` returns which of them are visible.
        """
        distorted = distortion.distort_rays(rays, self.distortion_model, self.distortion)
        return self.to_delivered(distorted * (self.fx, self.fy) + (self.cx, self.cy))

    def unproject(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the unit directions (..., 3) in the raw camera's frame for pixels (..., 2) of the delivered image.

        This is the inverse of `project` up to rounding. Pixels beyond the range of the lens model get its outermost
        direction.
        """
        full = self.to_full(np.asarray(pixels, dtype=np.float64))
        normalised = (full - (self.cx, self.cy)) / (self.fx, self.fy)
        return distortion.undistort_to_rays(normalised, self.distortion_model, self.distortion)

    def sees(self, rays: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which directions (..., 3) of the raw camera's frame are visible in the delivered image.

        The image includes half a pixel of border. Directions outside the one-to-one range of the lens model are not
        visible, whatever pixels its formula gives.
        """
        rays = np.asarray(rays, dtype=np.float64)
        pixels = self.project(rays)
        width, height = self.delivered_size
        limit = distortion.radial_limit(self.distortion_model, self.distortion)
        radius = np.hypot(rays[..., 0], rays[..., 1])
        if self.distortion_model == "equidistant":
            within = np.arctan2(radius, rays[..., 2]) <= limit
        else:
            within = (rays[..., 2] > 0) & (radius <= limit * rays[..., 2])
        inside = (np.abs(pixels[..., 0] - (width - 1) / 2) <= width / 2) & (
            np.abs(pixels[..., 1] - (height - 1) / 2) <= height / 2
        )
        return np.asarray(within & inside)

    def to_delivered(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map pixels (..., 2) of the full sensor image to the delivered image (ROI, binning)."""
        offset = (self.roi[0], self.roi[1]) if self.roi else (0, 0)
        return (pixels - np.array(offset, dtype=np.float64) + 0.5) / self.binning - 0.5

    def to_full(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map pixels (..., 2) of the delivered image to the full sensor image; the inverse of `to_delivered`."""
        offset = (self.roi[0], self.roi[1]) if self.roi else (0, 0)
        return (pixels + 0.5) * self.binning - 0.5 + np.array(offset, dtype=np.float64)

    def resized(self, width: int, height: int) -> CameraModel:
        """Return the camera of this pinhole image resized to ``width`` x ``height`` (pixel centres at integers).

        Raises:
            CalibrationError: the camera is not a pinhole; rectify first (see `geometry.rectification`).
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
