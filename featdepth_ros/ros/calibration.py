"""CameraInfo messages to camera models and back (REP-104)."""

from __future__ import annotations

import math

from sensor_msgs.msg import CameraInfo

from featdepth_ros.errors import CalibrationError, nearest_name
from featdepth_ros.geometry.cameras import COEFFICIENTS, CameraModel, DistortionModel
from featdepth_ros.ros.images import time_message

#: distortion_model of the message -> ours. ``fisheye`` is what ROS 1 and some drivers call OpenCV's fisheye model.
_MODELS: dict[str, DistortionModel] = {
    "plumb_bob": "plumb_bob",
    "rational_polynomial": "rational_polynomial",
    "equidistant": "equidistant",
    "fisheye": "equidistant",
    "kannala_brandt4": "equidistant",
}
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def is_calibrated(msg: CameraInfo) -> bool:
    """Return False for the mark of an uncalibrated camera, K[0] == 0 (REP-104)."""
    return bool(msg.k[0] != 0.0)


def camera_from_info(msg: CameraInfo, rectified: bool = False) -> CameraModel | None:
    """Return the camera a CameraInfo describes, or None for an uncalibrated one (K[0] == 0).

    Args:
        msg: the message. Intrinsics are of the full sensor image; ROI and binning are kept apart.
        rectified: the image that comes with it is rectified already (an ``image_rect`` topic shares the camera_info of
            ``image_raw``): P is its camera, D and R have been applied.

    Raises:
        CalibrationError: size, coefficients, ROI or numbers make no camera; the message names the field.
    """
    if not is_calibrated(msg):
        return None
    if not all(math.isfinite(v) for v in (*msg.k, *msg.d, *msg.r, *msg.p)):
        raise CalibrationError("camera_info holds a non-finite value in k, d, r or p; calibrate the camera again")
    if msg.width == 0 or msg.height == 0:
        raise CalibrationError(
            f"camera_info has k but its size is {msg.width}x{msg.height}; the driver must fill in width and height"
        )
    projection = None if msg.p[0] == 0.0 else (msg.p[0], msg.p[5], msg.p[2], msg.p[6])
    fx, fy, cx, cy = float(msg.k[0]), float(msg.k[4]), float(msg.k[2]), float(msg.k[5])
    if projection is not None and (projection[0] <= 0 or projection[1] <= 0):
        raise CalibrationError(f"camera_info's p has focal lengths {projection[:2]}; expected both positive, or p zero")
    model, coefficients = _distortion(msg)
    rectification = _rectification(msg)
    if rectified:
        if projection is not None:
            fx, fy, cx, cy = (float(v) for v in projection)
        model, coefficients, rectification, projection = "none", (), None, None
    if projection == (fx, fy, cx, cy):
        projection = None
    return CameraModel(
        width=int(msg.width),
        height=int(msg.height),
        fx=fx,
        fy=fy,
        cx=cx,
        cy=cy,
        distortion_model=model,
        distortion=coefficients,
        rectification=rectification,
        projection=None if projection is None else tuple(float(v) for v in projection),  # type: ignore[arg-type]
        roi=_roi(msg),
        binning=(max(1, int(msg.binning_x)), max(1, int(msg.binning_y))),
    )


def _distortion(msg: CameraInfo) -> tuple[DistortionModel, tuple[float, ...]]:
    coefficients = tuple(float(v) for v in msg.d)
    if not coefficients:
        if msg.distortion_model in ("equidistant", "fisheye", "kannala_brandt4"):
            raise CalibrationError(
                f"distortion model '{msg.distortion_model}' comes without coefficients; expected 4 in camera_info's d"
            )
        return "none", ()
    if not msg.distortion_model:
        if any(coefficients):
            raise CalibrationError(
                f"camera_info has {len(coefficients)} coefficients in d but no distortion_model; "
                "the driver must name it (plumb_bob, rational_polynomial, equidistant)"
            )
        return "none", ()
    model = _MODELS.get(msg.distortion_model)
    if model is None:
        raise CalibrationError(
            f"distortion model '{msg.distortion_model}' is not known{nearest_name(msg.distortion_model, _MODELS)}"
        )
    if len(coefficients) not in COEFFICIENTS[model]:
        raise CalibrationError(
            f"distortion model '{msg.distortion_model}' has {len(coefficients)} coefficients in camera_info's d; "
            f"expected {' or '.join(map(str, COEFFICIENTS[model]))}"
        )
    if model != "equidistant" and not any(coefficients):
        return "none", ()
    return model, coefficients


def _rectification(msg: CameraInfo) -> tuple[float, ...] | None:
    rotation = tuple(float(v) for v in msg.r)
    return None if not any(rotation) or rotation == _IDENTITY else rotation


def _roi(msg: CameraInfo) -> tuple[int, int, int, int] | None:
    roi = msg.roi
    if roi.width == 0 and roi.height == 0:
        return None
    x, y, width, height = int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)
    if width == 0 or height == 0 or x + width > msg.width or y + height > msg.height:
        raise CalibrationError(
            f"camera_info's roi is {width}x{height} at ({x}, {y}), outside the {msg.width}x{msg.height} image"
        )
    return None if (x, y, width, height) == (0, 0, msg.width, msg.height) else (x, y, width, height)


def info_from_camera(camera: CameraModel, stamp: int, frame_id: str) -> CameraInfo:
    """Return the CameraInfo of a camera; an undistorted one gets plumb_bob with five zeros, as image_proc writes it.

    Args:
        camera: the camera; `camera_from_info` of the result gives it back.
        stamp: nanoseconds.
        frame_id: optical frame.
    """
    msg = CameraInfo(width=camera.width, height=camera.height)
    msg.header.stamp = time_message(stamp)
    msg.header.frame_id = frame_id
    if camera.distortion_model == "none":
        msg.distortion_model, msg.d = "plumb_bob", [0.0] * 5
    else:
        msg.distortion_model, msg.d = camera.distortion_model, [float(v) for v in camera.distortion]
    msg.k = [float(v) for v in camera.K.ravel()]
    msg.r = list(camera.rectification or _IDENTITY)
    fx, fy, cx, cy = camera.projection or (camera.fx, camera.fy, camera.cx, camera.cy)
    msg.p = [float(v) for v in (fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0)]
    if camera.roi is not None:
        msg.roi.x_offset, msg.roi.y_offset, msg.roi.width, msg.roi.height = camera.roi
        msg.roi.do_rectify = True
    if camera.binning != (1, 1):
        msg.binning_x, msg.binning_y = camera.binning
    return msg
