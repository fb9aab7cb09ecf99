"""Height of the camera over the road, in map units: metres follow where the true height is known.

The plane's normal comes from the direction of travel, since a vehicle moves along its road. One degree of pitch is ten
percent of height. Neither a level camera nor a plane fitted to depth is as good. But a vehicle nods, and a road rises
and falls. So the height is found in bands of distance, each by itself. A plane that is pitched otherwise shows another
height in each band, and height and pitch are solved together (the pitch with a prior). Only a corridor as wide as a
lane counts: kerbs, pavements and parked cars are higher than the road.
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

#: The sampled part of the picture: first and last, share of rows and of columns; and its step, pixels.
ROWS, COLUMNS, STEP_PX = (0.55, 0.97), (0.2, 0.8), 3
#: Drops of a ray (see `road_plane.plane_scores`) that bound the bands: 20 heights ahead, 10.5, 6.7, and the nearest.
BANDS = np.array([0.05, 0.095, 0.15, np.inf])
#: Half the width of the road that counts, heights of the camera.
CORRIDOR = 0.9
#: Noise of a band's inverse depth times height: share of its drop, and pixels over the focal length.
BAND_NOISE, BAND_NOISE_PX = 0.02, 0.4
#: Standard deviation of the road's pitch beside the direction of travel, radians: a vehicle nods, and roads are bent.
PITCH = 0.005
#: Frames over which the direction of travel is a median.
DIRECTIONS = 60
#: Distance travelled between the two frames, heights of the camera.
TRAVEL = (0.25, 1.6)
#: Logarithmic width of the search, either side; of the first searches; and heights on trial.
WIDTH, FIRST_WIDTH, TRIALS = 0.3, 0.6, 41
#: Correlation below which the picture does not show a road; the same of one band.
ALIKE, BAND_ALIKE = 0.5, 0.5
#: Share of the samples that the earlier picture must show.
COVERED = 0.3
#: Keyframes whose pictures are kept.
KEPT = 8
#: Motion in a frame, heights of the camera, whose direction means something; and how far down the normal must point.
LEAST_MOTION, LEAST_DOWN = 0.03, 0.9


class RoadFinder:
    """Finds the road plane's height between the newest picture and an earlier keyframe's.

    Args:
        local_map: whose camera and keyframes are meant.
    """

    def __init__(self, local_map: LocalMap) -> None:
        self._camera, self._lens = local_map.camera, local_map.lens
        self._directions: deque[Floats] = deque(maxlen=DIRECTIONS)
        self._kept: deque[tuple[Keyframe, Grey]] = deque(maxlen=KEPT)

    def keep(self, keyframe: Keyframe, grey: Grey) -> None:
        """Keep a keyframe's picture for later comparison."""
        self._kept.append((keyframe, smoothed(grey)))

    def measure(self, grey: Grey, pose: Floats, moved: Floats, log_guess: float, sure: bool) -> float | None:
        """Measure.

        Args:
            grey: (H, W) the newest picture.
            pose: (4, 4) T_camera_map of it.
            moved: (4, 4) T_previous_current, map units.
            log_guess: logarithm of the height where the search begins, map units.
            sure: whether the guess is from earlier measures.

        Returns:
            Logarithm of the height, map units; None where the picture shows no such plane.
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
    """Place and value of the height that fits best, by a parabola; None where none stands out or fits well enough."""
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
    """Log height of the plane that bands of distance show, its pitch solved for as well.

    Inverse depth is ``drop / height`` under the assumed normal, and ``(drop + pitch) / height`` in truth.

    Args:
        drop: (n,) mean drop of each band, n at least 1.
        log_height: (n,) log height that each shows by itself.
        least_noise: of ``drop``, radians.

    Returns:
        The height; None where the bands contradict any plane.
    """
    unit = float(log_height.mean())
    inverse_depth = drop * np.exp(unit - log_height)
    noise = BAND_NOISE * drop + least_noise
    design = np.append(np.stack([drop, np.ones_like(drop)], axis=1) / noise[:, None], [[0.0, 1.0 / PITCH]], axis=0)
    inverse_height, _ = np.linalg.lstsq(design, np.append(inverse_depth / noise, 0.0), rcond=None)[0]
    return unit - math.log(inverse_height) if inverse_height > 0 else None


def smoothed(grey: Grey) -> Grey:
    """The picture without what is finer than the sampling."""
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.0))
