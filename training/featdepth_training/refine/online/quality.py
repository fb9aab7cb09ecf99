"""Checks every frame of a segment once, before the segment is used for training or evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.selection import Selector
from featdepth_training.refine.config import FRAMES
from featdepth_training.refine.online.config import QualityLimits
from featdepth_training.refine.online.segments import Segment, decode_picture


@dataclass(frozen=True)
class Fitness:
    """The usable part of a segment.

    Attributes:
        stretches: numbers of the kept frames, as sequences of neighbours that are long enough for a clip.
        refused: why there are none; empty: there are some.
    """

    stretches: tuple[tuple[int, ...], ...] = ()
    refused: str = ""

    @property
    def clips(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of the frames of each clip."""
        return tuple(run[k : k + FRAMES] for run in self.stretches for k in range(len(run) - FRAMES + 1))

    def before(self, frame: int) -> list[int]:
        """Return the numbers of the frames before one in its sequence, the nearest first."""
        run = next(run for run in self.stretches if frame in run)
        return list(run[: run.index(frame)][::-1])


def fitness(segment: Segment, limits: QualityLimits, rest: Callable[[], None] = lambda: None) -> Fitness:
    """Check every frame of a segment for light, sharpness, image motion, motion of the poses, and cuts.

    Args:
        segment: the segment.
        limits: limits for usable segments.
        rest: called after each frame.
    """
    selector, spoilt = Selector(), 0
    stretches: list[list[int]] = [[]]
    try:
        for index, stamp_ns in enumerate(segment.stamps_ns):
            image = decode_picture(segment.picture(index), segment.size, f"{segment.name}/{stamp_ns}.png")
            why = _spoilt(image, limits)
            spoilt += bool(why)
            if spoilt > limits.spoilt * len(segment.stamps_ns):
                return Fitness(refused=f"{why} ({spoilt} of the first {index + 1} frames)")
            verdict = selector.judge(image, stamp_ns)
            rest()
            if verdict == "cut":
                return Fitness(refused=f"the picture cuts at frame {index}")
            if why or verdict in ("static", "blurred"):
                continue
            if verdict != "kept":
                stretches.append([])
            stretches[-1].append(index)
    except RecordingError as error:
        return Fitness(refused=str(error))
    long = tuple(tuple(stretch) for stretch in stretches if len(stretch) >= FRAMES)
    if not long:
        counted = ", ".join(f"{count} {verdict}" for verdict, count in sorted(selector.counts.items()))
        return Fitness(refused=f"no {FRAMES} moving frames in a row ({counted})")
    path = _path(segment.poses())
    if segment.metric and path is not None and path < limits.least_path:
        return Fitness(refused=f"the camera moves only {path:.3f} m, which has no information on depth")
    return Fitness(long)


def _spoilt(image: NDArray[np.uint8], limits: QualityLimits) -> str:
    """Return why a frame shows nothing, as one word; empty: it shows something."""
    levels = image[::4, ::4].astype(np.float32)
    if float(levels.mean()) < limits.dark:
        return "dark"
    return "flat" if float(levels.std()) < limits.flat else ""


def _path(poses: NDArray[np.float64]) -> float | None:
    """Return the length of the path of (N, 4, 4) poses; None if too few are known."""
    known = poses[np.isfinite(poses).all((1, 2)), :3, 3]
    return float(np.linalg.norm(np.diff(known, axis=0), axis=1).sum()) if len(known) > 1 else None
