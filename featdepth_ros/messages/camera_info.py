"""Conversion between CameraInfo (REP-104) and `CameraModel`, for messages of rclpy, rosbags and ROS 1."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError, nearest_name
from featdepth_ros.geometry.cameras import COEFFICIENTS, CameraModel, DistortionModel

#: Names of the distortion models in drivers and calibration tools.
MODEL_NAMES: dict[str, DistortionModel] = {
    "": "none",
    "none": "none",
    "plumb_bob": "plumb_bob",
    "radial_tangential": "plumb_bob",
    "radtan": "plumb_bob",
    "brown_conrady": "plumb_bob",
    "rational_polynomial": "rational_polynomial",
    "equidistant": "equidistant",
    "equi": "equidistant",
    "fisheye": "equidistant",
    "kannala_brandt": "equidistant",
    "kannala_brandt4": "equidistant",
}

#: Share of the focal length above which an off-diagonal entry of K is a skew.
LEAST_SKEW = 0.01

#: Word in the topics of rectified images; "direct" and "unrectified" must not match.
_RECTIFIED = re.compile(r"(?<![a-z])rect(if(ied|y))?(?![a-z])", re.IGNORECASE)

#: Suffixes that image_transport appends to the topic of the raw images.
_TRANSPORTS = ("/compressed", "/compressedDepth", "/theora", "/ffmpeg", "/zstd", "/h264", "/h265", "/hevc", "/foxglove")

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def distortion_of(model: str, coefficients: Sequence[float]) -> tuple[DistortionModel, tuple[float, ...]]:
    """Return the package's distortion model and coefficients for those of any driver or tool.

    Messages and calibration files use this function. If all coefficients are zero, there is no distortion, whatever
    their name and number; only a fisheye keeps its model. Trailing zeros beyond a model's coefficients are dropped.
    Eight numbers or more are the rational model, whose order continues that of plumb_bob. The case of names is ignored;
    spaces and hyphens count as underscores.

    Raises:
        CalibrationError: the model is unknown or has no name, or it has a wrong number of coefficients.
    """
    name = MODEL_NAMES.get(re.sub(r"[\s-]+", "_", model.strip().lower()))
    values = tuple(float(v) for v in coefficients)
    if name == "equidistant" and not values:
        raise CalibrationError(f"distortion model '{model}' comes without coefficients; expected 4")
    if name != "equidistant" and not any(values):
        return "none", ()
    if name is None:
        hint = nearest_name(model, filter(None, MODEL_NAMES))
        raise CalibrationError(f"distortion model '{model}' is not known{hint}")
    if name == "none":
        raise CalibrationError(
            f"there are {len(values)} distortion coefficients but no distortion model is named; "
            "set distortion_model to plumb_bob, rational_polynomial or equidistant"
        )
    for kind in (name, "rational_polynomial") if name == "plumb_bob" else (name,):
        for count in sorted(COEFFICIENTS[kind], reverse=True):
            if len(values) == count or (len(values) > count and not any(values[count:])):
                return kind, values[:count]
    raise CalibrationError(
        f"distortion model '{model}' has {len(values)} coefficients; "
        f"expected {' or '.join(map(str, COEFFICIENTS[name]))}"
    )


def names_rectified(topic: str) -> bool:
    """Return whether an image topic is rectified by the last part of its name, without the transport."""
    return _RECTIFIED.search(base_topic(topic).rsplit("/", 1)[-1]) is not None


def base_topic(image_topic: str) -> str:
    """Return the topic of the raw images, without the suffix of a transport."""
    base = image_topic
    for transport in _TRANSPORTS:
        base = base.removesuffix(transport)
    return base


def is_calibrated(info: Any) -> bool:
    """Return whether the camera is calibrated; K[0] == 0 marks an uncalibrated one (REP-104)."""
    return bool(_field(info, "k")[0] != 0.0)


def camera_from_info(
    info: Any, rectified: bool = False, image_size: tuple[int, int] | None = None
) -> CameraModel | None:
    """Return the camera model of a CameraInfo, or None for an uncalibrated camera (K[0] == 0).

    Args:
        info: any object with the message's fields (``k`` or ROS 1's ``K``, and so on). Intrinsics belong to the full
            sensor image; ROI and binning are separate fields.
        rectified: whether the images are already rectified. An ``image_rect`` topic shares the camera_info of
            ``image_raw``. Its camera is then P, and D and R have been applied.
        image_size: (width, height) of the images in pixels, used if the message has size 0.

    Raises:
        CalibrationError: a size, coefficient, ROI or matrix is invalid; the message names the field.
    """
    if not is_calibrated(info):
        return None
    k, p = _numbers(info, "k"), _numbers(info, "p")
    width, height = int(info.width), int(info.height)
    if width == 0 or height == 0:
        if image_size is None:
            raise CalibrationError(
                f"camera_info has k but its size is {width}x{height}; expected width and height above 0, which the "
                "driver must set"
            )
        width, height = image_size
    focal = (k[0], k[4], k[2], k[5])
    projection = None if p[0] == 0.0 else (p[0], p[5], p[2], p[6])
    if projection is not None and (projection[0] <= 0 or projection[1] <= 0):
        raise CalibrationError(f"camera_info's p has focal lengths {projection[:2]}; expected both positive, or p zero")
    model: DistortionModel = "none"
    coefficients: tuple[float, ...] = ()
    rectification: tuple[float, ...] | None = None
    if rectified:  # D and R have already been applied
        focal, projection = projection or focal, None
    else:
        model, coefficients = distortion_of(str(info.distortion_model), _numbers(info, "d"))
        r = _numbers(info, "r")
        rectification = None if not any(r) or r == _IDENTITY else r
    return CameraModel(
        width,
        height,
        *focal,
        distortion_model=model,
        distortion=coefficients,
        rectification=rectification,
        projection=None if projection == focal else projection,
        roi=_roi(info.roi, width, height),
        binning=(max(1, int(info.binning_x)), max(1, int(info.binning_y))),
    )


def matrix_fault(info: Any) -> str | None:
    """Return as text why K of a CameraInfo is not a valid camera matrix; None if it is valid."""
    k = _numbers(info, "k")
    if k[0] <= 0 or k[4] <= 0:
        return f"K has the focal lengths {k[0]:g} and {k[4]:g} px; expected both above 0"
    if any(abs(v) > 1e-9 for v in k[6:8]):
        return f"the last row of K is {k[6:]}; expected 0, 0, 1; is K written column by column?"
    if max(abs(k[1]), abs(k[3])) > LEAST_SKEW * abs(k[0]):
        return f"K has a skew, {k[1]:g} and {k[3]:g} px; expected 0"
    return None


def projection_matrix(info: Any) -> NDArray[np.float64] | None:
    """Return P of a CameraInfo, (3, 4) float64, pixels (fourth column: pixels times metres); None if it is zero."""
    p = np.array(_numbers(info, "p")).reshape(3, 4)
    return None if p[0, 0] == 0.0 else p


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
        "r": np.array(camera.rectification or _IDENTITY, dtype=np.float64),
        "p": np.array([fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0], dtype=np.float64),
        "binning_x": 0 if camera.binning[0] == 1 else camera.binning[0],
        "binning_y": 0 if camera.binning[1] == 1 else camera.binning[1],
        "roi": (roi[0], roi[1], roi[3], roi[2], True) if roi else (0, 0, 0, 0, False),
    }


def _field(info: Any, name: str) -> Any:
    values = getattr(info, name, None)
    return getattr(info, name.upper()) if values is None else values


def _numbers(info: Any, name: str) -> tuple[float, ...]:
    numbers = tuple(float(v) for v in _field(info, name))
    if not all(math.isfinite(v) for v in numbers):
        raise CalibrationError(f"{name.upper()} of the CameraInfo holds a non-finite value: {numbers}")
    return numbers


def _roi(roi: Any, width: int, height: int) -> tuple[int, int, int, int] | None:
    region = (int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height))
    if region[2:] == (0, 0) or region == (0, 0, width, height):
        return None
    if 0 in region[2:] or region[0] + region[2] > width or region[1] + region[3] > height:
        raise CalibrationError(
            f"camera_info's roi is {region[2]}x{region[3]} at {region[:2]}, outside the {width}x{height} image; "
            "expected a region inside it"
        )
    return region
