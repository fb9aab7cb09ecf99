"""Tracks points from the last keyframe into the newest image, and detects new points.

Templates come from the last keyframe, so that small errors do not accumulate from frame to frame. New corners (Shi and
Tomasi 1994) are spread on a grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window.compiled import alignment
from featdepth_ros.inference.window.compiled.corners import corner_strength
from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.records import Sight

Floats = NDArray[np.float64]
Grey = NDArray[np.uint8]
Pyramid = tuple[Grey, Grey, Grey, Grey]

#: Half side of the matched patch, pixels; coarsest pyramid level of the search; steps per level.
HALF_PX, COARSEST, STEPS = 7, 2, 12
#: Least correlation of an accepted match.
ALIKE = 0.8
#: Border of the image without accepted points, pixels.
RIM_PX = 7
#: Grid for new corners: rows, columns. Cells with fewer points than `EVEN` come first, even with weak corners. The
#: network is often wrong in such areas, and a few points correct its depth.
GRID, EVEN = (4, 12), 4
#: Least strength of a corner, as a share of the strongest.
STRENGTH = 0.0003
#: Largest displacement of a point that is static in the image, and least displacement that the motion predicts, pixels.
STILL_PX, AWAY_PX = 1.0, 3.0
#: Share of the last keyframe's points below which features are matched to find the motion, which is then checked. Next
#: is the share above which points fixed to the image are not looked for. The last is the largest share of such points.
SURE, MANY, OF_THE_WORLD = 0.1, 0.5, 0.5
#: Change of a point's depth, as a factor, within which its patch still matches. Next is the least share of such points
#: that is found with a correct motion. It was 0.15 and more in dim rooms and at two frames a second; wrong motions
#: found 0.07 to 0.12. The share is not used if one image is sharper than the other by the last factor.
AS_NEAR, FOUND_AGAIN, SHARPER = 1.25, 0.13, 1.5


def pyramid(grey: Grey) -> Pyramid:
    """Return the (H, W) image and three smaller ones, each with half the size of the previous one."""
    grey = np.ascontiguousarray(grey)
    half = cv2.pyrDown(grey)
    quarter = cv2.pyrDown(half)
    return grey, half, quarter, cv2.pyrDown(quarter)


def trackable(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask (H, W) of pixels whose whole patch has image content, from the mask (H, W) of such pixels.

    Outside of it, a rectified image repeats its border as streaks, whose motion differs from that of the scene.
    """
    patch = np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), dtype=np.uint8)
    return np.asarray(cv2.erode(seen.astype(np.uint8), patch) > 0)


def follow(
    earlier: Pyramid,
    later: Pyramid,
    start: Floats,
    expected: Floats,
    warp: Floats,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Track points from one image into another.

    Args:
        earlier: pyramid of the earlier image.
        later: pyramid of the later image.
        start: (n, 2) pixels in the earlier image.
        expected: (n, 2) pixels in the later image where the search begins.
        warp: (n, 2, 2) from offsets in the later image to offsets in the earlier one.
        allowed: (H, W) mask of accepted positions, see `trackable`; None: everywhere.

    Returns:
        (n, 2) pixels in the later image, and (n,) whether each match is accepted.
    """
    pixels, likeness = np.empty_like(start), np.empty(len(start))
    alignment.align(earlier, later, start, expected, warp, HALF_PX, COARSEST, STEPS, pixels, likeness)
    good = (likeness > ALIKE) & inside(pixels, later[0].shape)
    if allowed is not None:
        columns, rows = np.rint(pixels[good]).astype(np.int64).T
        good[good] = allowed[rows, columns]
    return pixels, good


def inside(pixels: Floats, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return whether pixels (n, 2) lie in an image of (height, width) without its border, (n,)."""
    return np.asarray(
        (pixels >= RIM_PX).all(axis=1) & (pixels[:, 0] < size[1] - RIM_PX) & (pixels[:, 1] < size[0] - RIM_PX)
    )


@dataclass(frozen=True)
class Template:
    """The last keyframe, from which points are tracked.

    Attributes:
        pyramid: pyramid of the keyframe's image.
        sight: observations of the keyframe.
        allowed: (H, W) mask of accepted positions; None: everywhere.
        before: pyramid of the previous keyframe's image; None if the map has no previous keyframe.
    """

    pyramid: Pyramid
    sight: Sight
    allowed: NDArray[np.bool_] | None = None
    before: Pyramid | None = None


def follow_points(local_map: LocalMap, template: Template, later: Pyramid, expected: Floats) -> Sight:
    """Track the last keyframe's points into the newest image.

    The map and the expected pose (4, 4) predict the position of each point and the warp of its patch.
    """
    sight = template.sight.chosen(~local_map.bad[template.sight.places])
    key = local_map.keyframes[-1].pose
    motion = expected @ se3.inverse(key)
    z = local_map.depths(key, sight)
    rho = np.where(z > 1e-6, 1.0 / np.maximum(z, 1e-6), 0.0)
    rays = np.concatenate([local_map.rays_of(sight.pixels), np.ones((len(sight), 1))], axis=1)
    seen = rays @ motion[:3, :3].T + rho[:, None] * motion[:3, 3]
    focal, centre = local_map.camera[:2], local_map.camera[2:]
    depth = np.maximum(seen[:, 2], 1e-6)
    guess = seen[:, :2] / depth[:, None] * focal + centre
    guess, start = local_map.to_image(guess), local_map.to_image(sight.found)
    # Jacobian of the later pixel by the earlier one for a fronto-parallel surface
    by_pixel = motion[:3, :2] / focal
    flow = by_pixel[None, :2] - (seen[:, :2] / depth[:, None])[:, :, None] * by_pixel[None, 2:]
    flow = focal[None, :, None] * flow / depth[:, None, None]
    determinant = flow[:, 0, 0] * flow[:, 1, 1] - flow[:, 0, 1] * flow[:, 1, 0]
    usable = (z > 1e-6) & (seen[:, 2] > 0.1) & inside(guess, later[0].shape) & (determinant > 0.1) & (determinant < 10)
    warp = np.ascontiguousarray(np.linalg.inv(flow[usable]))
    pixels, good = follow(template.pyramid, later, start[usable], guess[usable], warp, template.allowed)
    return Sight.at(sight.places[usable][good], local_map.to_ideal(pixels[good]))


def missed(local_map: LocalMap, template: Template, pose: Floats, sight: Sight, later: Pyramid) -> float:
    """Return how many points are missing for a plausible motion: the least expected number less the found number.

    A few points on a far hill, or on a vehicle ahead, can agree on a wrong motion. With the camera's true motion,
    others would be found as well. The expected points stay in the image at nearly the same depth. Points that leave the
    image, or that become much larger, are not expected.

    Args:
        local_map: the map.
        template: the last keyframe.
        pose: (4, 4) T_camera_map after the motion.
        sight: observations of the keyframe's points that agree with the motion.
        later: pyramid of the newest image.

    Returns:
        The number of missing points; at most 0 for a plausible motion.
    """
    key = local_map.keyframes[-1].pose
    pixels, z = local_map.project(pose, local_map.world(template.sight.places))
    nearer = z / np.maximum(local_map.depths(key, template.sight), 1e-6)
    easy = (nearer > 1 / AS_NEAR) & (nearer < AS_NEAR) & inside(local_map.to_image(pixels), later[0].shape)
    least = float(FOUND_AGAIN * easy.sum()) - len(sight)
    return 0.0 if least <= 0 or _differ_in_sharpness(template.pyramid[1], later[1]) else least


def _differ_in_sharpness(one: Grey, other: Grey) -> bool:
    """Return whether one image is blurred compared with the other, independent of contrast and brightness."""
    sharp = [cv2.Laplacian(g, cv2.CV_32F) for g in (one, other)]
    detail = [float(np.abs(s).mean()) / max(float(g.std()), 1e-6) for s, g in zip(sharp, (one, other), strict=True)]
    return max(detail) > SHARPER * min(detail)


def tell_motion(local_map: LocalMap, template: Template, pose: Floats, sight: Sight, later: Pyramid) -> bool:
    """Return whether the points that agree with a motion prove that it is the camera's.

    There must be at least `WindowConfig.least_tracks` of them, and not too few of the expected points (`missed`).
    Points that are fixed to the image do not count: the vehicle's own bonnet, dirt on the lens, a caption. After a
    jump, they alone are found again and agree with each other. They are detected because they were static in the image
    before the jump as well, while the camera moved. Arguments as `missed`.
    """
    count, all_of_them = len(sight), len(template.sight)
    if count < local_map.config.least_tracks:
        return False
    if count < SURE * all_of_them and missed(local_map, template, pose, sight, later) > 0:
        return False
    if template.before is None or count > MANY * all_of_them:
        return True
    start = template.sight.of(sight.places)
    # Measured positions: the rolling shutter does not move points that are fixed to the image.
    still = np.linalg.norm(sight.found - start.found, axis=1) < STILL_PX
    expected, _ = local_map.project(local_map.keyframes[-2].pose, local_map.world(sight.places))
    still &= np.linalg.norm(expected - start.pixels, axis=1) > AWAY_PX
    if still.sum() <= OF_THE_WORLD * count:
        return True
    here = local_map.to_image(start.found[still])
    warp = np.tile(np.eye(2), (len(here), 1, 1))
    pixels, good = follow(template.before, template.pyramid, here, here, warp)
    fixed = good & (np.linalg.norm(pixels - here, axis=1) < STILL_PX)
    return bool(fixed.sum() <= OF_THE_WORLD * count)


def corners(grey: Grey, taken: Floats, wanted: int, allowed: NDArray[np.bool_] | None = None) -> Floats:
    """Detect new corners, spread over the image and away from existing points.

    Args:
        grey: (H, W) uint8 image.
        taken: (m, 2) pixels of existing points.
        wanted: largest number of corners.
        allowed: (H, W) mask of accepted positions; None: everywhere.

    Returns:
        (n, 2) pixels without subpixel refinement, since a template need not be centred on its corner.
    """
    if wanted < 1:
        return np.zeros((0, 2))
    height, width = grey.shape
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[RIM_PX + 1 : -RIM_PX - 1, RIM_PX + 1 : -RIM_PX - 1] = 255
    if allowed is not None:
        mask[~allowed] = 0
    for u, v in taken:
        cv2.circle(mask, (round(u), round(v)), max(7, width // 100), 0, -1)
    strength = corner_strength(grey)
    highest = cv2.dilate(strength, np.ones((9, 9), dtype=np.uint8))
    found_at = np.flatnonzero((strength == highest) & (mask > 0) & (strength > STRENGTH * strength.max()))
    rows, columns = np.divmod(found_at, width)  # flatnonzero is ten times as fast as a search in two dimensions
    if not len(rows):
        return np.zeros((0, 2))
    value, cell = strength[rows, columns], _cells(columns, rows, grey.shape)
    order = np.lexsort((-value, cell))
    sorted_cells = cell[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_cells, sorted_cells)
    order, rank = (of[rank < max(2, int(np.ceil(1.6 * wanted / (GRID[0] * GRID[1]))))] for of in (order, rank))
    there = np.bincount(_cells(taken[:, 0], taken[:, 1], grey.shape), minlength=GRID[0] * GRID[1])
    enough = rank + there[cell[order]] >= EVEN
    order = order[np.lexsort((-value[order], enough))][:wanted]
    pixels = np.stack([columns[order], rows[order]], axis=1).astype(np.float64)
    return pixels


def _cells(columns: NDArray[Any], rows: NDArray[Any], size: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the index of each pixel's cell in `GRID` for an image of (height, width), (n,)."""
    down, across = (
        np.clip(at * cells // length, 0, cells - 1).astype(np.int64)
        for at, cells, length in zip((rows, columns), GRID, size, strict=True)
    )
    return np.asarray(down * GRID[1] + across)
