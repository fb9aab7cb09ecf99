"""Depth by classical matching of a segment's frames.

It trains shape where the photometric loss is weak, and evaluates shape on held-out segments. See
`featdepth_training.prepare.pseudo_depth`. A frame is matched with up to eighteen earlier ones of its sequence, so that
slow robots have parallax, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_training.prepare.pseudo_depth import LOOK_BACK, grey, moving_depth
from featdepth_training.refine.online.quality import Fitness
from featdepth_training.refine.online.segments import Segment, decode_picture

Maps = dict[int, NDArray[np.float16]]


class Matcher:
    """Matches the middle frames of clips, each once."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, NDArray[np.float16] | None]] = {}

    def forget(self, name: str) -> None:
        """Remove the maps of a deleted segment."""
        self._known.pop(name, None)

    def maps(self, segment: Segment, fit: Fitness, clips: Sequence[tuple[int, ...]], rest: Callable[[], None]) -> Maps:
        """Return (H, W) depth up to scale (NaN: unknown) by number of the frame; frames without parallax have none.

        Args:
            segment: the segment.
            fit: its usable sequences.
            clips: clips of the segment, whose middle frames are matched.
            rest: called after each frame.
        """
        known = self._known.setdefault(segment.name, {})
        greys: dict[int, NDArray[np.uint8]] = {}

        def seen(index: int) -> NDArray[np.uint8]:
            if index not in greys:
                greys[index] = grey(decode_picture(segment.picture(index), segment.size, segment.name))
            return greys[index]

        middles = [clip[len(clip) // 2] for clip in clips]
        try:
            for middle in middles:
                if middle not in known:
                    earlier = [seen(k) for k in fit.before(middle)[: max(LOOK_BACK)]]
                    depth = moving_depth(seen(middle), earlier, np.array(segment.camera))
                    known[middle] = None if depth is None else depth.astype(np.float16)
                    rest()
        except RecordingError:  # the node has deleted it meanwhile
            return {}
        return {index: matched for index in middles if (matched := known[index]) is not None}
