"""How good a corner every pixel is: the smaller eigenvalue of Shi and Tomasi (1994). Compiled.

OpenCV's own function gives the same values to single precision, takes two to four times as long, and fills eleven
megabytes on the way. It was most of what a new keyframe cost.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window.compiled._jit import jit_entry

#: Half side of the square over which gradients are summed, pixels.
_REACH = 2
#: What makes the values those of OpenCV, whose gradients are per grey level of 1 and summed over 25 pixels and 4 rows.
_SCALE = 1.0 / (4.0 * 5.0 * 255.0) ** 2


def corner_strength(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the (H, W) float32 smaller eigenvalue of the gradients' products, summed over 5x5 pixels.

    Args:
        grey: (H, W) uint8, at least 3 pixels a side.
    """
    across, down = (cv2.Sobel(grey, cv2.CV_16S, *direction) for direction in ((1, 0), (0, 1)))
    strength = np.empty(grey.shape, np.float32)
    smaller_eigenvalues(across, down, np.float32(_SCALE), strength)
    return strength


@jit_entry("void(int16[:,::1], int16[:,::1], float32, float32[:,::1])")
def smaller_eigenvalues(across, down, scale, strength):  # type: ignore[no-untyped-def]
    """Fill ``strength`` from the gradients (H, W); what lies outside is mirrored at the rim, as OpenCV does it."""
    height, width = across.shape
    # Products of two gradients, which are whole numbers up to 1020, are exact in single precision.
    xx, xy, yy = np.empty(width + 4, np.float32), np.empty(width + 4, np.float32), np.empty(width + 4, np.float32)
    half = np.float32(0.5)
    for row in range(height):
        xx[:], xy[:], yy[:] = 0, 0, 0
        for offset in range(-_REACH, _REACH + 1):
            other = abs(row + offset)
            other = min(other, 2 * (height - 1) - other)
            gx, gy = across[other], down[other]
            for column in range(width):
                x, y = np.float32(gx[column]), np.float32(gy[column])
                xx[column + 2] += x * x
                xy[column + 2] += x * y
                yy[column + 2] += y * y
        for sums in (xx, xy, yy):
            sums[1], sums[0] = sums[3], sums[4]
            sums[width + 2], sums[width + 3] = sums[width], sums[width - 1]
        out = strength[row]
        for column in range(width):
            a = xx[column] + xx[column + 1] + xx[column + 2] + xx[column + 3] + xx[column + 4]
            b = xy[column] + xy[column + 1] + xy[column + 2] + xy[column + 3] + xy[column + 4]
            c = yy[column] + yy[column + 1] + yy[column + 2] + yy[column + 3] + yy[column + 4]
            mean, apart = half * (a + c), half * (a - c)
            out[column] = scale * (mean - np.sqrt(apart * apart + b * b))
