"""Checks the convention of a third-party network with points that were triangulated from images alone."""

from __future__ import annotations

import logging
from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window.types import WindowResult

_log = logging.getLogger(__name__)

#: Least information of a point's log depth from images alone, and least number of such points for a frame.
_KNOWN, _ENOUGH_POINTS = 25.0, 20
#: Number of frames for a decision, and the median rank correlation below which depth is inverted.
_FRAMES, _BACKWARDS = 5, -0.3


class ConventionWatch:
    """Detects exchanged near and far: a depth that is an inverse depth, or the other way round.

    Attributes:
        message: the problem as a sentence; empty while there is none.
    """

    def __init__(self) -> None:
        self.message = ""
        self._correlations: deque[float] = deque(maxlen=2 * _FRAMES)

    def look(self, depth: NDArray[np.float32], window: WindowResult | None) -> None:
        """Compare the network's depth (h, w) of a frame with the window's points in it, and update `message`."""
        if self.message or window is None or window.camera is None:
            return
        known = window.points.information > _KNOWN
        if known.sum() < _ENOUGH_POINTS:
            return
        scale = np.array(depth.shape[::-1]) / np.array(window.camera.delivered_size)
        x, y = ((window.points.pixels[known] + 0.5) * scale - 0.5).astype(np.float32).T
        network_depth = cv2.remap(depth, x[None], y[None], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)[0]
        self._correlations.append(_rank_correlation(network_depth, window.points.depth[known]))
        if len(self._correlations) >= _FRAMES and float(np.median(self._correlations)) < _BACKWARDS:
            self.message = (
                "the network's depth grows where the window's points come nearer: its convention is wrong. Depth and "
                "inverse depth are exchanged; see 'kind' in docs/any-network.md"
            )
            _log.warning("%s", self.message)


def _rank_correlation(a: NDArray[np.float32], b: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation; 0 if one of the two does not vary."""
    ranks = [np.argsort(np.argsort(values)).astype(np.float64) for values in (a, b)]
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
