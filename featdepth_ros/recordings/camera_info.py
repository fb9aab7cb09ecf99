"""CameraInfo (REP-104) to `CameraModel` and back, for messages of any origin: rclpy's, rosbags', ROS 1's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry.cameras import COEFFICIENTS, CameraModel, DistortionModel

#: Names under which drivers and calibration tools know the distortion models.
MODEL_NAMES: dict[str, DistortionModel] = {
    "": "none",
    "none": "none",
    "plumb_bob": "plumb_bob",
    "radial-tangential": "plumb_bob",
    "radtan": "plumb_bob",
    "brown_conrady": "plumb_bob",
    "rational_polynomial": "rational_polynomial",
    "equidistant": "equidistant",
    "equi": "equidistant",
    "fisheye": "equidistant",
    "kannala_brandt4": "equidistant",
}


def distortion_of(model: str, coefficients: Sequence[float]) -> tuple[DistortionModel, tuple[float, ...]]:
    """Return model and coefficients in the package's words, from any tool's.

    Raises:
        CalibrationError: the model is not known, or does not take that many coefficients.
    """
    name = MODEL_NAMES.get(model.strip().lower().replace(" ", "_"))
    values = tuple(float(v) for v in coefficients)
    if name is None:
        raise CalibrationError(f"distortion model '{model}' is not known; expected one of {', '.join(COEFFICIENTS)}")
    if name == "none" and any(values):
        name = "plumb_bob"
    if name == "plumb_bob" and len(values) in COEFFICIENTS["rational_polynomial"]:
        name = "rational_polynomial"
    if name in ("none", "plumb_bob", "rational_polynomial") and not any(values):
        return "none", ()
    return name, values


def camera_from_info(
    info: Any, image_size: tuple[int, int] | None = None, rectified: bool = False
) -> CameraModel | None:
    """Return the camera a CameraInfo message describes, or None when it says that it is uncalibrated (K[0] == 0).

    Args:
        info: any object with the message's fields (``k`` or ROS 1's ``K``, and so on).
        image_size: (width, height) in pixels of the image, used when the message leaves its size 0.
        rectified: the image is already rectified (an ``image_rect`` topic): P describes it and D does not apply.

    Raises:
        CalibrationError: unknown distortion model, wrong lengths, non-finite or negative values.
    """
    k, d, r, p = (_numbers(info, name) for name in "kdrp")
    if len(k) != 9:
        raise CalibrationError(f"K of the CameraInfo has {len(k)} numbers; expected 9")
    if k[0] == 0.0:
        return None
    width, height = int(info.width), int(info.height)
    if width == 0 or height == 0:
        if image_size is None:
            raise CalibrationError("the CameraInfo has no image size (width or height is 0)")
        width, height = image_size
    model, coefficients = distortion_of(str(info.distortion_model), d)
    projection = (p[0], p[5], p[2], p[6]) if len(p) == 12 and p[0] > 0.0 else None
    binning = (max(1, int(info.binning_x)), max(1, int(info.binning_y)))
    roi = info.roi
    camera = CameraModel(
        width=width,
        height=height,
        fx=k[0],
        fy=k[4],
        cx=k[2],
        cy=k[5],
        distortion_model=model,
        distortion=coefficients,
        rectification=_rotation_or_none(r),
        projection=None if projection == (k[0], k[4], k[2], k[5]) else projection,
        roi=_roi_or_none(roi, width, height),
        binning=binning,
    )
    if not rectified:
        return camera
    fx, fy, cx, cy = projection or (k[0], k[4], k[2], k[5])
    return replace(
        camera,
        fx=fx,
        fy=fy,
        cx=cx,
        cy=cy,
        distortion_model="none",
        distortion=(),
        rectification=None,
        projection=None,
    )


def info_fields(camera: CameraModel) -> dict[str, Any]:
    """Return the CameraInfo fields of a camera: width, height, distortion_model, d, k, r, p, binning_x, binning_y, roi.

    ``roi`` is (x_offset, y_offset, height, width, do_rectify), the message's own order; all zero without a region.
    """
    fx, fy, cx, cy = camera.projection or (camera.fx, camera.fy, camera.cx, camera.cy)
    roi = camera.roi
    return {
        "width": camera.width,
        "height": camera.height,
        "distortion_model": "plumb_bob" if camera.distortion_model == "none" else camera.distortion_model,
        "d": np.array(camera.distortion or (0.0,) * 5, dtype=np.float64),
        "k": camera.K.reshape(9).astype(np.float64),
        "r": np.array(camera.rectification or np.eye(3).reshape(9), dtype=np.float64),
        "p": np.array([fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0], dtype=np.float64),
        "binning_x": 0 if camera.binning[0] == 1 else camera.binning[0],
        "binning_y": 0 if camera.binning[1] == 1 else camera.binning[1],
        "roi": (roi[0], roi[1], roi[3], roi[2], camera.rectification is not None) if roi else (0, 0, 0, 0, False),
    }


def _numbers(info: Any, name: str) -> tuple[float, ...]:
    values = getattr(info, name, None)
    if values is None:
        values = getattr(info, name.upper())
    numbers = tuple(float(v) for v in values)
    if not all(math.isfinite(v) for v in numbers):
        raise CalibrationError(f"{name.upper()} of the CameraInfo holds a non-finite value: {numbers}")
    return numbers


def _rotation_or_none(r: tuple[float, ...]) -> tuple[float, ...] | None:
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    return None if len(r) != 9 or not any(r) or r == identity else r


def _roi_or_none(roi: Any, width: int, height: int) -> tuple[int, int, int, int] | None:
    region = (int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height))
    return None if region[2] == 0 or region[3] == 0 or region == (0, 0, width, height) else region
