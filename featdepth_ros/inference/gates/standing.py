"""The zero-motion gate, which detects a standing camera.

A pose network never returns exactly zero, so a standing robot would drift. The gate uses the images alone. Both are
averaged into blocks, which averages sensor noise away. A global affine image motion plus a brightness gain and offset
are fitted to their difference. The fit is robust least squares on the optical-flow constraint
``I_later - I_earlier = -grad(I) . flow + gain * I + offset`` (Lucas and Kanade, 1981). If the fitted flow is a small
fraction of a pixel and little difference is left over, the camera stood.

Only blocks with texture count, since others look the same whether the camera moves or not. If they are too few, or all
edges have one direction, the fit does not determine the flow. The camera then does not count as standing.

The earlier image of the test is an anchor that stays while the camera stands. Slow motion therefore adds up until it
opens the gate, and the pose network then measures all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

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

#: Change of brightness from block to block, of the [0, 1] range, from which a block has texture. It is one grey level:
#: five times what sensor noise of 3 levels leaves of a block's mean.
TEXTURE = 1.0 / 255.0
#: Least share of textured blocks, as of textured cells in `sight`.
LEAST_TEXTURE = 0.02
#: Standard deviation of the fitted flow above which it is undetermined, network pixels: half of the standing limit.
UNKNOWN_PX = CLOSE_PX / 2.0
#: Least noise of a block's mean, of the [0, 1] range, for that standard deviation in images without noise.
LEAST_NOISE = 0.1 / 255.0

_ROUNDS = 4


def thumbnail(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the grey block means (h / 8, w / 8), float32, of an (h, w, 3) float32 image in [0, 1]."""
    grey = image.mean(axis=2)
    size = (max(grey.shape[1] // BLOCK_PX, 8), max(grey.shape[0] // BLOCK_PX, 8))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


@dataclass(frozen=True)
class Flow:
    """The motion between two thumbnails.

    Attributes:
        rms_px: root mean square of the fitted flow over the image, network pixels.
        deviation_px: standard deviation of its mean in the most uncertain direction, network pixels.
        residual: median absolute difference that the fit leaves in blocks with texture, of the [0, 1] range.
    """

    rms_px: float
    deviation_px: float
    residual: float


def fitted_flow(earlier: NDArray[np.float32], later: NDArray[np.float32]) -> Flow | None:
    """Fit an affine motion and a brightness change to the textured blocks of two thumbnails.

    Args:
        earlier: (rows, columns) float32 from `thumbnail`.
        later: thumbnail of the later image.

    Returns:
        The flow; None if too few blocks have texture.
    """
    mean = (earlier + later) / 2.0
    gradient_y, gradient_x = np.gradient(mean)
    height, width = mean.shape
    y, x = np.mgrid[0:height, 0:width]
    textured = np.hypot(gradient_x, gradient_y) > TEXTURE
    if textured.mean() < LEAST_TEXTURE:
        return None
    x, y = x / (width - 1) - 0.5, y / (height - 1) - 0.5
    gx, gy, at_x, at_y = (values[textured] for values in (gradient_x, gradient_y, x, y))
    light = mean[textured] - mean.mean()
    columns = [-gx, -gx * at_x, -gx * at_y, -gy, -gy * at_x, -gy * at_y, light, np.ones_like(gx)]
    design = np.stack(columns, axis=1).astype(np.float64)
    difference = (later - earlier)[textured].astype(np.float64)
    ridge = np.diag([1e-6] * 6 + [1e-8] * 2) * mean.size
    weight = np.ones_like(difference)
    for _ in range(_ROUNDS):
        normal = (design * weight[:, None]).T @ design + ridge
        solution = np.linalg.solve(normal, (design * weight[:, None]).T @ difference)
        left = np.abs(difference - design @ solution)
        # With Cauchy weights, a passing car is an outlier and not the camera's motion.
        noise = max(1.4826 * float(np.median(left)), LEAST_NOISE)
        weight = 1.0 / (1.0 + (left / (2.0 * noise)) ** 2)
    flow_x = solution[0] + solution[1] * x + solution[2] * y
    flow_y = solution[3] + solution[4] * x + solution[5] * y
    shift = np.linalg.inv(normal)[np.ix_([0, 3], [0, 3])]
    return Flow(
        rms_px=float(np.sqrt(np.mean(flow_x**2 + flow_y**2))) * BLOCK_PX,
        deviation_px=noise * float(np.sqrt(np.linalg.eigvalsh(shift)[-1])) * BLOCK_PX,
        residual=float(np.median(left)),
    )


class StandingGate:
    """Detects a standing camera by `fitted_flow` with hysteresis. Each camera needs its own gate."""

    def __init__(self) -> None:
        self._anchor: NDArray[np.float32] | None = None
        self._standing = False

    def reset(self) -> None:
        """Forget the anchor: the next image is the first."""
        self._anchor = None
        self._standing = False

    def stands(self, image: NDArray[np.float32]) -> bool:
        """Return whether the camera has not moved since the anchor; an image that moved becomes the new anchor.

        Args:
            image: (h, w, 3) float32 in [0, 1], at network size.
        """
        current = thumbnail(image)
        anchor = self._anchor
        if anchor is None or anchor.shape != current.shape:
            self._anchor, self._standing = current, False
            return False
        flow = fitted_flow(anchor, current)
        self._standing = (
            flow is not None
            and flow.residual < RESIDUAL
            and flow.deviation_px < UNKNOWN_PX
            and flow.rms_px < (OPEN_PX if self._standing else CLOSE_PX)
        )
        if not self._standing:
            self._anchor = current
        return self._standing
