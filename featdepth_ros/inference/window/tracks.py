"""Points followed from the last keyframe into the newest image, and new ones where there are too few.

Templates come from the last keyframe, so that small errors do not add up frame by frame. New corners (Shi and Tomasi
1994) are spread on a grid.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window import alignment

Floats = NDArray[np.float64]
Grey = NDArray[np.uint8]
Pyramid = tuple[Grey, Grey, Grey, Grey]

#: Half side of the matched patch, pixels; where the search begins; steps a level.
HALF_PX, COARSEST, STEPS = 7, 2, 12
#: Correlation below which a match is not believed.
ALIKE = 0.8
#: A point that does not come back to within this when tracked backwards is lost, pixels.
RETURN_PX = 0.5
BACK = False
#: Rim of the image in which no point is believed, pixels.
RIM_PX = 7
#: Grid on which new corners are spread: rows, columns.
GRID = (4, 12)
#: Least strength of a corner, share of the strongest.
STRENGTH = 0.0003


def pyramid(grey: Grey) -> Pyramid:
    """The image and three smaller ones, each half of the one before."""
    grey = np.ascontiguousarray(grey)
    half = cv2.pyrDown(grey)
    quarter = cv2.pyrDown(half)
    return grey, half, quarter, cv2.pyrDown(quarter)


def follow(
    earlier: Pyramid, later: Pyramid, start: Floats, expected: Floats, warp: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Follow points from one image into another.

    Args:
        earlier, later: from `pyramid`.
        start: (n, 2) pixels in the earlier image.
        expected: (n, 2) pixels in the later image where the search begins.
        warp: (n, 2, 2) from offsets in the later image to offsets in the earlier one.

    Returns:
        (n, 2) pixels, and (n,) bool whether to believe each.
    """
    found, likeness = np.empty_like(start), np.empty(len(start))
    alignment.align(earlier, later, start, expected, warp, HALF_PX, COARSEST, STEPS, found, likeness)
    good = likeness > ALIKE
    if BACK:
        back, again = np.empty_like(start), np.empty(len(start))
        alignment.align(later, earlier, found, start, np.ascontiguousarray(np.linalg.inv(warp)), HALF_PX, 0, STEPS, back, again)
        good &= (again > ALIKE) & (np.linalg.norm(back - start, axis=1) < RETURN_PX)
    height, width = later[0].shape
    inside = (found >= RIM_PX).all(axis=1) & (found[:, 0] < width - RIM_PX) & (found[:, 1] < height - RIM_PX)
    return found, good & inside


def corners(grey: Grey, taken: Floats, wanted: int, allowed: NDArray[np.bool_] | None = None) -> Floats:
    """Find new corners, spread over the image and away from points already there.

    Args:
        grey: (H, W) uint8.
        taken: (m, 2) pixels of points already there.
        wanted: how many at most.
        allowed: (H, W) where they may lie; None: everywhere.

    Returns:
        (n, 2) pixels, sub-pixel.
    """
    height, width = grey.shape
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[RIM_PX + 1 : -RIM_PX - 1, RIM_PX + 1 : -RIM_PX - 1] = 255
    if allowed is not None:
        mask[~allowed] = 0
    for u, v in taken:
        cv2.circle(mask, (round(u), round(v)), max(7, width // 100), 0, -1)
    strength = cv2.cornerMinEigenVal(grey, 5)
    highest = cv2.dilate(strength, np.ones((9, 9), dtype=np.uint8))
    rows, columns = np.nonzero((strength == highest) & (mask > 0) & (strength > STRENGTH * strength.max()))
    if not len(rows):
        return np.zeros((0, 2))
    value = strength[rows, columns]
    cell = (rows * GRID[0] // height) * GRID[1] + columns * GRID[1] // width
    order = np.lexsort((-value, cell))
    sorted_cells = cell[order]
    first = np.searchsorted(sorted_cells, sorted_cells)
    share = max(2, int(np.ceil(1.6 * wanted / (GRID[0] * GRID[1]))))
    order = order[np.arange(len(order)) - first < share]
    order = order[np.argsort(-value[order], kind="stable")][:wanted]
    found = np.stack([columns[order], rows[order]], axis=1).astype(np.float32)
    refined = cv2.cornerSubPix(grey, found[:, None].copy(), (3, 3), (-1, -1), (3, 10, 0.03))[:, 0]
    return np.clip(refined.astype(np.float64), 1, (width - 2, height - 2))
