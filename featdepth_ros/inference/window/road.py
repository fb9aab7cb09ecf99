"""Height of the camera over the road, in map units: metres follow where the true height is known.

The plane's normal comes from the direction of travel, since a vehicle moves along its road: one degree of pitch is ten
percent of height, and neither a level camera nor a plane fitted to depth is as good.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window import road_plane

Floats = NDArray[np.float64]

#: The sampled part of the picture: first and last, share of rows and of columns; and its step, pixels.
ROWS, COLUMNS, STEP_PX = (0.62, 0.96), (0.33, 0.67), 3
#: Frames over which the direction of travel is a median.
DIRECTIONS = 60
#: Distance travelled between the two frames, heights of the camera.
TRAVEL = (0.25, 1.6)
#: Logarithmic width of the search, either side; of the first searches; and heights on trial.
WIDTH, FIRST_WIDTH, TRIALS = 0.3, 0.6, 41
#: Correlation below which the picture does not show a road.
ALIKE = 0.35


@dataclass(frozen=True)
class RoadMeasure:
    """One measured height.

    Attributes:
        log_height: logarithm of the height, map units.
        correlation: of the blocks at that height.
        sharpness: negative second derivative of the correlation by log height.
    """

    log_height: float
    correlation: float
    sharpness: float


class RoadFinder:
    """Finds the road plane's height between the newest picture and an earlier one."""

    def __init__(self) -> None:
        self._directions: deque[Floats] = deque(maxlen=DIRECTIONS)

    def travelled(self, T_previous_current: Floats) -> None:
        """Take note of a motion: its direction tells how the road lies."""
        moved = T_previous_current[:3, 3]
        length = float(np.linalg.norm(moved))
        if length > 1e-6:
            self._directions.append(moved / length)

    def measure(
        self, earlier: NDArray[np.uint8], newest: NDArray[np.uint8], motion: Floats, camera: Floats, guess: float, sure: bool
    ) -> RoadMeasure | None:
        """Measure.

        Args:
            earlier, newest: (H, W) grey, smoothed.
            motion: (3, 4) T_earlier_newest, map units.
            camera: (4,) fx fy cx cy.
            guess: height where the search begins, map units.
            sure: whether the guess is from earlier measures.

        Returns:
            The height, or None where the picture shows no such plane.
        """
        height, width = newest.shape
        direction = np.median(np.array(self._directions), axis=0)
        normal = np.array([0.0, direction[2], -direction[1]])
        normal /= np.linalg.norm(normal)
        reach = WIDTH if sure else FIRST_WIDTH
        logs = np.log(guess) + np.linspace(-reach, reach, TRIALS)
        scores, covered = np.empty(TRIALS), np.empty(TRIALS)
        grid = np.array([[int(ROWS[0] * height), int(ROWS[1] * height), STEP_PX], [int(COLUMNS[0] * width), int(COLUMNS[1] * width), STEP_PX]], dtype=float)
        road_plane.plane_scores(earlier, newest, np.ascontiguousarray(motion), normal, camera, grid, np.exp(logs), scores, covered)
        best = int(np.argmax(scores))
        if best in (0, TRIALS - 1) or scores[best] < ALIKE:
            return None
        left, middle, right = scores[best - 1 : best + 2]
        bend = left - 2 * middle + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
        pitch = logs[1] - logs[0]
        return RoadMeasure(float(logs[best] + shift * pitch), float(middle), float(-bend / pitch**2))


def smoothed(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture without what is finer than the sampling."""
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.0))
