"""Height of the camera over the road, in map units: metres follow where the true height is known.

The plane's normal comes from the direction of travel, since a vehicle moves along its road. One degree of pitch is ten
percent of height. Neither a level camera nor a plane fitted to depth is as good.
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
ROWS, COLUMNS, STEP_PX = (0.62, 0.96), (0.33, 0.67), 3
#: Frames over which the direction of travel is a median.
DIRECTIONS = 60
#: Distance travelled between the two frames, heights of the camera.
TRAVEL = (0.25, 1.6)
#: Logarithmic width of the search, either side; of the first searches; and heights on trial.
WIDTH, FIRST_WIDTH, TRIALS = 0.3, 0.6, 41
#: Correlation below which the picture does not show a road.
ALIKE = 0.5
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
        scores, covered = np.empty(TRIALS), np.empty(TRIALS)
        road_plane.plane_scores(
            earlier, newest, np.ascontiguousarray(motion[:3]), normal, camera, grid, np.exp(logs), scores, covered
        )
        best = int(np.argmax(scores))
        if best in (0, TRIALS - 1) or scores[best] < ALIKE or covered[best] < COVERED:
            return None
        left, middle, right = scores[best - 1 : best + 2]
        bend = left - 2 * middle + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
        return float(logs[best] + shift * (logs[1] - logs[0]))


def smoothed(grey: Grey) -> Grey:
    """The picture without what is finer than the sampling."""
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.0))
