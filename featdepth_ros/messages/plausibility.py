"""Checks whether a calibration is plausible. `CameraModel` accepts some that no real camera has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import camera_from_info, is_calibrated, matrix_fault

#: Least and largest focal length of a lens, in image widths.
FOCAL_WIDTHS = (0.1, 20.0)
#: Largest distance of the principal point from the image, in image sizes. For cropped images it can be outside.
OUTSIDE_SHARE = 0.25
#: The same for P, because a stereo pair with different directions is rectified to a common one.
PROJECTION_OUTSIDE_SHARE = 1.0
#: Largest zoom of a rectification, in or out.
ZOOM = 5.0


def implausible(camera: CameraModel) -> str | None:
    """Return as text why no camera can have this calibration; None if it is plausible.

    It checks the focal length, the principal point, and the ratio of P to K. It detects K in fractions of the image,
    and a rectification that mirrors or rotates by more than 90 degrees. For the image size see `of_another_size`.
    """
    size = np.array([camera.width, camera.height])
    focal, centre = np.array([camera.fx, camera.fy]), np.array([camera.cx, camera.cy])
    stated = f"fx, fy, cx, cy = {_list(focal, centre)} for images of {camera.width}x{camera.height} pixels"
    if (np.abs(centre) <= 1.0).all() and (focal <= FOCAL_WIDTHS[1]).all() and (size > 16).all():
        proposed = ",".join(f"{value:.6g}" for value in (*(focal * size), *(centre * size)))
        return (
            f"{stated} seem to be fractions of the image, but pixels are expected; multiplied by width and height they "
            f"are {proposed}"
        )
    widths = focal / camera.width
    if widths.min() < FOCAL_WIDTHS[0] or widths.max() > FOCAL_WIDTHS[1]:
        return (
            f"{stated}; expected focal lengths in pixels, from {FOCAL_WIDTHS[0]:g} to {FOCAL_WIDTHS[1]:g} image widths"
        )
    if _outside(centre, size) > OUTSIDE_SHARE:
        return f"{stated}: the principal point lies outside the image; is this the calibration of larger images?"
    if camera.projection is not None:
        p_focal, p_centre = np.array(camera.projection[:2]), np.array(camera.projection[2:])
        zoom = p_focal / focal
        if zoom.max() > ZOOM or zoom.min() < 1 / ZOOM or _outside(p_centre, size) > PROJECTION_OUTSIDE_SHARE:
            return f"{stated}, but P has {_list(p_focal, p_centre)}: P contradicts K"
    if camera.rectification is not None:
        if np.linalg.det(camera.R) < 0:
            return f"the rectification R {camera.rectification} mirrors; expected a rotation"
        if np.trace(camera.R) < 1.0 - 1e-3:  # a rotation of more than 90 degrees
            return f"the rectification R {camera.rectification} turns the camera over; expected less than 90 degrees"
    return None


def of_another_size(camera: CameraModel, image_size: tuple[int, int]) -> str | None:
    """Return as text that a calibration belongs to another size than this (width, height); None if it fits."""
    if camera.delivered_size == image_size:
        return None
    given, expected = ("x".join(map(str, size)) for size in (image_size, camera.delivered_size))
    return f"the images are {given} pixels, the calibration is for {expected}"


def usable_camera(
    info: Any, rectified: bool = False, image_size: tuple[int, int] | None = None
) -> tuple[CameraModel | None, str]:
    """Return the camera of a CameraInfo, or None and the reason why it counts as uncalibrated.

    Args:
        info: see `camera_from_info`.
        rectified: see `camera_from_info`.
        image_size: (width, height) of the images in pixels. The calibration must have this size; it is used if the
            message has size 0.

    Returns:
        (camera, reason). The reason is empty for a usable camera, and for one that is marked as uncalibrated. For an
        invalid message (non-finite numbers, an unknown distortion) it is the error of `camera_from_info`.
    """
    try:
        reason = None if rectified or not is_calibrated(info) else matrix_fault(info)
        if reason is not None:
            return None, reason
        camera = camera_from_info(info, rectified, image_size)
    except CalibrationError as error:
        return None, str(error)
    reason = None if camera is None else implausible(camera)
    if camera is not None and reason is None and image_size is not None:
        reason = of_another_size(camera, image_size)
    return (camera, "") if reason is None else (None, reason)


def _outside(centre: NDArray[np.float64], size: NDArray[np.float64]) -> float:
    """Return the distance of a point from the image, in image sizes; 0 inside."""
    share = (centre + 0.5) / size
    return float(np.maximum(np.maximum(-share, share - 1.0), 0.0).max())


def _list(*pairs: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.6g}" for value in np.concatenate(pairs))
