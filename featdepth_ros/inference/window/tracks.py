"""Points followed from the last keyframe into the newest image, and new ones where there are too few.

Templates come from the last keyframe, so that small errors do not add up frame by frame. New corners (Shi and Tomasi
1994) are spread on a grid.
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

#: Half side of the matched patch, pixels; where the search begins; steps a level.
HALF_PX, COARSEST, STEPS = 7, 2, 12
#: Correlation below which a match is not believed.
ALIKE = 0.8
#: Rim of the image in which no point is believed, pixels.
RIM_PX = 7
#: Grid on which new corners are spread: rows, columns. Cells with fewer points than `EVEN` come first, however weak
#: their corners: where little can be seen, the network is often wrong, and few points mend its depth.
GRID, EVEN = (4, 12), 4
#: Least strength of a corner, share of the strongest.
STRENGTH = 0.0003
#: Way in the picture below which a point stands still in it, and beyond which it ought to have gone, pixels.
STILL_PX, AWAY_PX = 1.0, 3.0
#: Share of the last keyframe's points below which they are few: features are matched to find the motion, and it is
#: doubted. Next is the share from which on they are many, and the share of fewer ones that must speak of the world.
SURE, MANY, OF_THE_WORLD = 0.1, 0.5, 0.5
#: How much nearer or farther a point may come and still look as it did. Next are the points that a true motion finds,
#: over such ones: 0.15 and more in dim rooms and at two frames a second; false ones have found 0.07 to 0.12. They say
#: nothing where one picture is sharper than the other by the last number.
AS_NEAR, FOUND_AGAIN, SHARPER = 1.25, 0.13, 1.5


def pyramid(grey: Grey) -> Pyramid:
    """The image and three smaller ones, each half of the one before."""
    grey = np.ascontiguousarray(grey)
    half = cv2.pyrDown(grey)
    quarter = cv2.pyrDown(half)
    return grey, half, quarter, cv2.pyrDown(quarter)


def trackable(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) where a whole patch lies in what the lens shows, from (H, W) where it shows anything.

    Beyond, a rectified picture repeats its border in streaks, which move otherwise than the scene.
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
    """Follow points from one image into another.

    Args:
        earlier: from `pyramid`.
        later: the same of the other image.
        start: (n, 2) pixels in the earlier image.
        expected: (n, 2) pixels in the later image where the search begins.
        warp: (n, 2, 2) from offsets in the later image to offsets in the earlier one.
        allowed: (H, W) where they may be found, see `trackable`; None: everywhere.

    Returns:
        (n, 2) pixels, and (n,) bool whether to believe each.
    """
    pixels, likeness = np.empty_like(start), np.empty(len(start))
    alignment.align(earlier, later, start, expected, warp, HALF_PX, COARSEST, STEPS, pixels, likeness)
    good = (likeness > ALIKE) & inside(pixels, later[0].shape)
    if allowed is not None:
        columns, rows = np.rint(pixels[good]).astype(np.int64).T
        good[good] = allowed[rows, columns]
    return pixels, good


def inside(pixels: Floats, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """(n,) whether pixels (n, 2) lie in an image of (height, width), its rim excepted."""
    return np.asarray(
        (pixels >= RIM_PX).all(axis=1) & (pixels[:, 0] < size[1] - RIM_PX) & (pixels[:, 1] < size[0] - RIM_PX)
    )


@dataclass(frozen=True)
class Template:
    """What is followed.

    Attributes:
        pyramid: the keyframe's picture.
        sight: points that it sees.
        allowed: (H, W) where points may lie; None: anywhere.
        before: picture of the map's keyframe before; None where there is none.
    """

    pyramid: Pyramid
    sight: Sight
    allowed: NDArray[np.bool_] | None = None
    before: Pyramid | None = None


def follow_points(local_map: LocalMap, template: Template, later: Pyramid, expected: Floats) -> Sight:
    """Follow the last keyframe's points into the newest picture.

    The search begins where the map and the expected pose (4, 4) put each point, with its patch warped as they say.
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
    # Jacobian of the later pixel by the earlier one on a surface that faces the camera
    by_pixel = motion[:3, :2] / focal
    flow = by_pixel[None, :2] - (seen[:, :2] / depth[:, None])[:, :, None] * by_pixel[None, 2:]
    flow = focal[None, :, None] * flow / depth[:, None, None]
    determinant = flow[:, 0, 0] * flow[:, 1, 1] - flow[:, 0, 1] * flow[:, 1, 0]
    usable = (z > 1e-6) & (seen[:, 2] > 0.1) & inside(guess, later[0].shape) & (determinant > 0.1) & (determinant < 10)
    warp = np.ascontiguousarray(np.linalg.inv(flow[usable]))
    pixels, good = follow(template.pyramid, later, start[usable], guess[usable], warp, template.allowed)
    return Sight.at(sight.places[usable][good], local_map.to_ideal(pixels[good]))


def missed(local_map: LocalMap, template: Template, pose: Floats, sight: Sight, later: Pyramid) -> float:
    """How many points a motion ought to have found at least beyond those that it found; above 0 it is a doubtful one.

    A few points of a far hill, or of a vehicle ahead, agree on hardly any motion. If it were the camera's, others would
    be found where they were. So points count that the motion leaves in the picture and nearly as near. A motion that
    takes them out of the picture, or that makes them much larger, has nothing to find.

    Args:
        local_map: the map.
        template: the last keyframe.
        pose: (4, 4) T_camera_map that the motion leads to.
        sight: those of its points that agree with the motion.
        later: the newest picture.
    """
    key = local_map.keyframes[-1].pose
    pixels, z = local_map.project(pose, local_map.world(template.sight.places))
    nearer = z / np.maximum(local_map.depths(key, template.sight), 1e-6)
    easy = (nearer > 1 / AS_NEAR) & (nearer < AS_NEAR) & inside(local_map.to_image(pixels), later[0].shape)
    least = float(FOUND_AGAIN * easy.sum()) - len(sight)
    return 0.0 if least <= 0 or _differ_in_sharpness(template.pyramid[1], later[1]) else least


def _differ_in_sharpness(one: Grey, other: Grey) -> bool:
    """Whether one picture is smeared beside the other. Contrast and brightness of the whole play no part."""
    sharp = [cv2.Laplacian(g, cv2.CV_32F) for g in (one, other)]
    detail = [float(np.abs(s).mean()) / max(float(g.std()), 1e-6) for s, g in zip(sharp, (one, other), strict=True)]
    return max(detail) > SHARPER * min(detail)


def tell_motion(local_map: LocalMap, template: Template, pose: Floats, sight: Sight, later: Pyramid) -> bool:
    """Tell whether points that agree with a motion make it one of the camera.

    Fewer than `WindowConfig.least_tracks` do not, nor do few that ought to be many (`missed`). Nor do points that are
    fixed to the picture: the vehicle's own bonnet, dirt on the lens, a caption. After a jump they alone are found
    again, and then they agree with one another. But they stood still in the picture before the jump as well, while the
    camera went on. Arguments as `missed`.
    """
    count, all_of_them = len(sight), len(template.sight)
    if count < local_map.config.least_tracks:
        return False
    if count < SURE * all_of_them and missed(local_map, template, pose, sight, later) > 0:
        return False
    if template.before is None or count > MANY * all_of_them:
        return True
    start = template.sight.of(sight.places)
    # As they were found: what is fixed to the picture is no later in lower rows.
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
    """Find new corners, spread over the image and away from points already there.

    Args:
        grey: (H, W) uint8.
        taken: (m, 2) pixels of points already there.
        wanted: how many at most.
        allowed: (H, W) where they may lie; None: everywhere.

    Returns:
        (n, 2) pixels; whole ones, since a template need not be centred on its corner.
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
    rows, columns = np.divmod(found_at, width)  # NumPy finds places in one dimension ten times as fast as in two
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
    """Number of the cell of `GRID` in which pixels of an image of (height, width) lie, (n,)."""
    down, across = (
        np.clip(at * cells // length, 0, cells - 1).astype(np.int64)
        for at, cells, length in zip((rows, columns), GRID, size, strict=True)
    )
    return np.asarray(down * GRID[1] + across)
