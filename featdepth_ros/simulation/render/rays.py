"""A table with the ray of every pixel, so that the renderer does not depend on camera models."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry.cameras import CameraModel


def ray_table(camera: CameraModel) -> NDArray[np.float64]:
    """Return (H, W, 2) float64: x/z and y/z of the ray through each pixel centre of the full image, raw camera axes.

    Raises:
        CalibrationError: the camera has a region of interest or binning, or its distortion cannot be inverted over the
            whole image.
    """
    if camera.roi is not None or camera.binning != (1, 1):
        raise CalibrationError("the camera has a ROI or binning; expected a camera of full images without them")
    x, y = np.meshgrid(np.arange(camera.width, dtype=float), np.arange(camera.height, dtype=float))
    if camera.distortion_model == "none" or not camera.distortion:
        return np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy], axis=-1)
    pixels = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
    coefficients = np.array(camera.distortion)
    done = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
    if camera.distortion_model == "equidistant":
        rays = cv2.fisheye.undistortPoints(pixels, camera.K, coefficients, criteria=done)
        back, _ = cv2.fisheye.projectPoints(
            np.concatenate([rays, np.ones_like(rays[..., :1])], -1), np.zeros(3), np.zeros(3), camera.K, coefficients
        )
    else:
        rays = cv2.undistortPointsIter(pixels, camera.K, coefficients, np.eye(3), np.eye(3), done)
        back, _ = cv2.projectPoints(
            np.concatenate([rays, np.ones_like(rays[..., :1])], -1).reshape(-1, 3),
            np.zeros(3), np.zeros(3), camera.K, coefficients,
        )  # fmt: skip
    error = float(np.abs(back.reshape(-1, 2) - pixels.reshape(-1, 2)).max())
    if not error < 1e-3:
        raise CalibrationError(
            f"the camera's distortion cannot be inverted over its whole image (error {error:.3g} px; expected "
            "below 0.001); use a smaller image or smaller distortion coefficients"
        )
    table: NDArray[np.float64] = rays.reshape(camera.height, camera.width, 2)
    return table
