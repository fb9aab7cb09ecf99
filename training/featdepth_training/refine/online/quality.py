"""Which segments are fit to teach and to judge: every frame is looked at once, before anything is learnt from it."""

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
    """What a segment is good for.

    Attributes:
        stretches: numbers of the frames that are kept, in runs of neighbours; each is long enough for a clip.
        refused: why it has none, in words; empty: it has some.
    """

    stretches: tuple[tuple[int, ...], ...] = ()
    refused: str = ""

    @property
    def clips(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of the frames of each clip."""
        return tuple(run[k : k + FRAMES] for run in self.stretches for k in range(len(run) - FRAMES + 1))

    def before(self, frame: int) -> list[int]:
        """Numbers of the frames before one in its stretch, the nearest first."""
        run = next(run for run in self.stretches if frame in run)
        return list(run[: run.index(frame)][::-1])


def fitness(segment: Segment, limits: QualityLimits, rest: Callable[[], None] = lambda: None) -> Fitness:
    """Look at every frame of a segment: light, sharpness, motion between the pictures and by the poses, cuts.

    Args:
        segment: to judge.
        limits: of what is fit.
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
        return Fitness(refused=f"the camera moves {path:.3f} m in all, which tells nothing of depth")
    return Fitness(long)


def _spoilt(image: NDArray[np.uint8], limits: QualityLimits) -> str:
    """Why a frame shows nothing, in a word; empty: it shows something."""
    levels = image[::4, ::4].astype(np.float32)
    if float(levels.mean()) < limits.dark:
        return "dark"
    return "flat" if float(levels.std()) < limits.flat else ""


def _path(poses: NDArray[np.float64]) -> float | None:
    """Length of the path of (N, 4, 4) poses; None: too few are known."""
    known = poses[np.isfinite(poses).all((1, 2)), :3, 3]
    return float(np.linalg.norm(np.diff(known, axis=0), axis=1).sum()) if len(known) > 1 else None
