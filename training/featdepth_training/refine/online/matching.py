"""Depth by classical matching of the frames of a segment: it teaches shape where the photometric loss is weak.

See `featdepth_training.prepare.pseudo_depth`. A frame is compared with earlier ones of its stretch, up to eighteen
back, so that slow robots show parallax as well.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_training.prepare.pseudo_depth import LOOK_BACK, grey, moving_depth
from featdepth_training.refine.online.quality import Fitness
from featdepth_training.refine.online.segments import Segment, decode_picture

Maps = dict[int, NDArray[np.float16]]


class Matcher:
    """Matches the middle frame of every clip of a segment, once."""

    def __init__(self) -> None:
        self._known: dict[str, Maps] = {}

    def forget(self, name: str) -> None:
        """A segment is gone."""
        self._known.pop(name, None)

    def maps(self, segment: Segment, fit: Fitness, rest: Callable[[], None]) -> Maps:
        """Return (H, W) depth up to scale (NaN: unknown) by number of the frame; frames without parallax have none.

        Args:
            segment: to read.
            fit: what it is good for.
            rest: called after each frame.
        """
        if segment.name not in self._known:
            try:
                self._known[segment.name] = self._matched(segment, fit, rest)
            except RecordingError:  # the node has made room since
                return {}
        return self._known[segment.name]

    def _matched(self, segment: Segment, fit: Fitness, rest: Callable[[], None]) -> Maps:
        greys: dict[int, NDArray[np.uint8]] = {}
        for index in sorted({frame for run in fit.stretches for frame in run}):
            greys[index] = grey(decode_picture(segment.picture(index), segment.size, segment.name))
        found: Maps = {}
        for _, middle, _ in fit.clips:
            earlier = [greys[k] for k in fit.before(middle)[: max(LOOK_BACK)]]
            depth = moving_depth(greys[middle], earlier, np.array(segment.camera))
            if depth is not None:
                found[middle] = depth.astype(np.float16)
            rest()
        return found
