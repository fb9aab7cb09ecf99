"""Height of the camera over the road, in map units. With the known true height, it gives the scale in metres.

The plane's normal comes from the direction of travel, since a vehicle moves along its road. One degree of pitch changes
the height by ten percent. Neither a level camera nor a plane fitted to depth is as accurate.

But a vehicle pitches, and the slope of a road changes. So the height is measured separately in bands of distance. A
different pitch of the plane gives a different height in each band, so height and pitch are estimated together (the
pitch with a prior). Only a corridor as wide as a lane is used, because kerbs, pavements and parked cars are higher.
"""

from __future__ import annotations

import math
from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window.compiled import road_plane
from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.records import Keyframe

Floats = NDArray[np.float64]
Grey = NDArray[np.uint8]

#: Sampled part of the image: first and last, as shares of rows and of columns; sampling step, pixels.
ROWS, COLUMNS, STEP_PX = (0.55, 0.97), (0.2, 0.8), 3
#: Limits of the bands, as drops of a ray (see `road_plane.plane_scores`): 20 camera heights ahead, 10.5, 6.7, and 0.
BANDS = np.array([0.05, 0.095, 0.15, np.inf])
#: Half the width of the used corridor, in camera heights.
CORRIDOR = 0.9
#: Noise of a band's inverse depth times height: as a share of its drop, and in pixels over the focal length.
BAND_NOISE, BAND_NOISE_PX = 0.02, 0.4
#: Standard deviation of the road's pitch relative to the direction of travel, radians.
PITCH = 0.005
#: Number of frames in the median of the direction of travel.
DIRECTIONS = 60
#: Least and largest distance between the two frames, in camera heights.
TRAVEL = (0.25, 1.6)
#: Half the width of the search in log height, the same for the first searches, and the number of tested heights.
WIDTH, FIRST_WIDTH, TRIALS = 0.3, 0.6, 41
#: Least correlation for a road in the image, and in one band.
ALIKE, BAND_ALIKE = 0.5, 0.5
#: Least share of the samples that are visible in the earlier image.
COVERED = 0.3
#: Number of keyframes whose images are kept.
KEPT = 8
#: Least motion per frame, in camera heights, for its direction to be used; least downward component of the normal.
LEAST_MOTION, LEAST_DOWN = 0.03, 0.9


class RoadFinder:
    """Measures the road plane's height from the newest image and that of an earlier keyframe.

    Args:
        local_map: map with the camera and the keyframes.
    """

    def __init__(self, local_map: LocalMap) -> None:
        self._camera, self._lens = local_map.camera, local_map.lens
        self._directions: deque[Floats] = deque(maxlen=DIRECTIONS)
        self._kept: deque[tuple[Keyframe, Grey]] = deque(maxlen=KEPT)

    def keep(self, keyframe: Keyframe, grey: Grey) -> None:
        """Store a keyframe's image for later comparisons."""
        self._kept.append((keyframe, smoothed(grey)))

    def measure(self, grey: Grey, pose: Floats, moved: Floats, log_guess: float, sure: bool) -> float | None:
        """Measure the height of the camera over the road.

        Args:
            grey: (H, W) uint8 newest image.
            pose: (4, 4) T_camera_map of that image.
            moved: (4, 4) T_previous_current, map units.
            log_guess: initial logarithm of the height, map units.
            sure: whether the initial value comes from earlier measurements.

        Returns:
            Logarithm of the height, map units; None if no road plane is found.
        """
        length = float(np.linalg.norm(moved[:3, 3]))
        guess = math.exp(log_guess)
        if length > LEAST_MOTION * guess:
            self._directions.append(moved[:3, 3] / length)
        if not self._directions:
            return None
        for keyframe, earlier in reversed(self._kept):
            motion = keyframe.pose @ se3.inverse(pose)
            if TRAVEL[0] * guess < np.linalg.norm(motion[:3, 3]) < TRAVEL[1] * guess:
                return self._search(earlier, smoothed(grey), motion, log_guess, WIDTH if sure else FIRST_WIDTH)
        return None

    def _search(self, earlier: Grey, newest: Grey, motion: Floats, log_guess: float, width: float) -> float | None:
        rows, columns = newest.shape
        direction = np.median(np.array(self._directions), axis=0)
        normal = np.array([0.0, direction[2], -direction[1]])
        normal /= np.linalg.norm(normal)
        if normal[1] < LEAST_DOWN:  # a hand-held camera, or one that looks sideways
            return None
        logs = log_guess + np.linspace(-width, width, TRIALS)
        grid = np.array([
            [int(ROWS[0] * rows), int(ROWS[1] * rows), STEP_PX],
            [int(COLUMNS[0] * columns), int(COLUMNS[1] * columns), STEP_PX],
        ], dtype=np.float64)  # fmt: skip
        camera = np.append(self._camera, self._lens.radial)
        bands = len(BANDS) - 1
        scores, weights = np.empty((TRIALS, bands)), np.empty((TRIALS, bands))
        covered, drop = np.empty(TRIALS), np.empty(bands)
        road_plane.plane_scores(
            earlier, newest, np.ascontiguousarray(motion[:3]), normal, camera, grid, np.exp(logs), BANDS, CORRIDOR,
            scores, weights, covered, drop,
        )  # fmt: skip
        whole = _peak(logs, scores.sum(axis=1), weights.sum(axis=1), ALIKE)
        if whole is None or covered[whole[0]] < COVERED:
            return None
        peaks = [_peak(logs, scores[:, band], weights[:, band], BAND_ALIKE) for band in range(bands)]
        has_peak = np.array([peak is not None for peak in peaks])
        if not has_peak.any():
            return whole[1]
        log_heights = np.array([peak[1] for peak in peaks if peak is not None])
        return height_of_bands(drop[has_peak], log_heights, BAND_NOISE_PX / camera[1])


def _peak(logs: Floats, scores: Floats, weights: Floats, least: float) -> tuple[int, float] | None:
    """Return index and value of the best height, refined by a parabola; None without a peak or with a low score."""
    if not (weights > 0).all():
        return None
    scores = scores / weights
    best = int(np.argmax(scores))
    if best in (0, len(logs) - 1) or scores[best] < least:
        return None
    left, middle, right = scores[best - 1 : best + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return best, float(logs[best] + shift * (logs[1] - logs[0]))


def height_of_bands(drop: Floats, log_height: Floats, least_noise: float) -> float | None:
    """Estimate height and pitch of the plane from the heights in bands of distance.

    The inverse depth is ``drop / height`` with the assumed normal, and ``(drop + pitch) / height`` with the true one.

    Args:
        drop: (n,) mean drop of each band, n at least 1.
        log_height: (n,) log height in each band, map units.
        least_noise: least noise of ``drop``, radians.

    Returns:
        The log height of the plane, map units; None if no plane fits the bands.
    """
    unit = float(log_height.mean())
    inverse_depth = drop * np.exp(unit - log_height)
    noise = BAND_NOISE * drop + least_noise
    design = np.append(np.stack([drop, np.ones_like(drop)], axis=1) / noise[:, None], [[0.0, 1.0 / PITCH]], axis=0)
    inverse_height, _ = np.linalg.lstsq(design, np.append(inverse_depth / noise, 0.0), rcond=None)[0]
    return unit - math.log(inverse_height) if inverse_height > 0 else None


def smoothed(grey: Grey) -> Grey:
    """Return the image without details finer than the sampling."""
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.0))
