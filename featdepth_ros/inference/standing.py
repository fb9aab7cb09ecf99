"""The zero-motion gate: is the camera standing still?

A pose network never answers exactly zero, so a standing robot would drift. The gate looks at the images alone: both
are averaged into blocks (which averages sensor noise away), and a global affine image motion plus a brightness gain and
offset are fitted to their difference by robust least squares on the optical-flow constraint
``I_later - I_earlier = -grad(I) . flow + gain * I + offset`` (Lucas and Kanade, 1981). If the fitted flow is a small
fraction of a pixel and little difference is left over, the camera stood.

The earlier image of the test is an anchor that stays while the camera stands. Creeping motion therefore adds up
until it opens the gate, and the pose network then sees the whole of it: nothing is lost.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

#: Size of a block in network pixels; the fit runs on block means.
BLOCK_PX = 8
#: Fitted flow (root mean square over the image, network pixels) below which a moving camera counts as standing...
CLOSE_PX = 0.12
#: ...and above which a standing camera counts as moving.
OPEN_PX = 0.24
#: Median absolute difference left by the fit, of the [0, 1] range: above it something other than noise changed.
RESIDUAL = 4.0 / 255.0

_ROUNDS = 4


def thumbnail(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Block means of an (h, w, 3) float32 image in [0, 1]: (h / 8, w / 8) float32 grey."""
    grey = image.mean(axis=2)
    size = (max(grey.shape[1] // BLOCK_PX, 8), max(grey.shape[0] // BLOCK_PX, 8))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def fitted_flow(earlier: NDArray[np.float32], later: NDArray[np.float32]) -> tuple[float, float]:
    """Fit an affine motion and a brightness change between two thumbnails.

    Returns:
        (flow, residual): root-mean-square fitted flow in network pixels, and the median absolute difference
        that the fit leaves, of the [0, 1] range.
    """
    mean = (earlier + later) / 2.0
    gradient_y, gradient_x = np.gradient(mean)
    height, width = mean.shape
    y, x = np.mgrid[0:height, 0:width]
    x = (x / (width - 1) - 0.5).ravel()
    y = (y / (height - 1) - 0.5).ravel()
    gx, gy = gradient_x.ravel(), gradient_y.ravel()
    one = np.ones_like(x)
    design = np.stack([-gx, -gx * x, -gx * y, -gy, -gy * x, -gy * y, mean.ravel() - mean.mean(), one], axis=1)
    difference = (later - earlier).ravel().astype(np.float64)
    # A picture without texture says nothing about motion; the ridge then answers "no motion".
    ridge = np.diag([1e-4] * 6 + [1e-6] * 2) * difference.size * 1e-2
    weight = np.ones_like(difference)
    solution = np.zeros(8)
    for _ in range(_ROUNDS):
        weighted = design * weight[:, None]
        solution = np.linalg.solve(weighted.T @ design + ridge, weighted.T @ difference)
        left = np.abs(difference - design @ solution)
        # Cauchy weights: a car driving by is an outlier, not the camera's motion.
        scale = max(1.4826 * float(np.median(left)), 1e-4)
        weight = 1.0 / (1.0 + (left / (2.0 * scale)) ** 2)
    flow_x = solution[0] + solution[1] * x + solution[2] * y
    flow_y = solution[3] + solution[4] * x + solution[5] * y
    rms = float(np.sqrt(np.mean(flow_x**2 + flow_y**2))) * BLOCK_PX
    return rms, float(np.median(np.abs(difference - design @ solution)))


class StandingGate:
    """Hysteresis around `fitted_flow`. One gate serves one camera."""

    def __init__(self) -> None:
        self._anchor: NDArray[np.float32] | None = None
        self._standing = False

    def reset(self) -> None:
        """Forget the anchor: the next image is the first."""
        self._anchor = None
        self._standing = False

    def stands(self, image: NDArray[np.float32]) -> bool:
        """Tell whether the camera has not moved since the anchor; an image that moved becomes the new anchor.

        Args:
            image: (h, w, 3) float32 in [0, 1], at network size.
        """
        current = thumbnail(image)
        anchor = self._anchor
        if anchor is None or anchor.shape != current.shape:
            self._anchor, self._standing = current, False
            return False
        flow_px, residual = fitted_flow(anchor, current)
        self._standing = residual < RESIDUAL and flow_px < (OPEN_PX if self._standing else CLOSE_PX)
        if not self._standing:
            self._anchor = current
        return self._standing
