"""`Recording`: what `open_recording` gives, whatever the recording is stored in."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.frame import Frame

logger = logging.getLogger(__name__)

#: Rate of recordings that have no time base of their own and were given none, frames per second.
DEFAULT_RATE_HZ = 10.0


@dataclass(frozen=True)
class SkippedFrame:
    """A frame that could not be read: its name and, in words, why."""

    name: str
    reason: str


class Recording(ABC):
    """Frames of one camera in order of time; can be iterated again and again, reads one frame at a time.

    Attributes:
        name: short name of the recording (file or folder stem).
        kind: ``image``, ``images``, ``video``, ``bag``, ``kitti_odometry``, ``kitti_raw``, ``euroc``, ``tum``,
            ``seven_scenes``, ``nyu``, ``eth3d``, ``cityscapes``, ``make3d``.
        camera: calibration of every frame, or None when the recording has none and none was given.
        partner_name: the other camera of the stereo pair, or None when no partner was asked for.
        rate_hz: nominal frames per second of the recording (median stamp distance).
        skipped: frames of the latest iteration that were broken; they are left out, counted and named here.
        notes: what a user should know about how the recording was read (a truncated bag, a fallback).
    """

    kind: str = "recording"

    def __init__(self, name: str, camera: CameraModel | None, rate_hz: float) -> None:
        self.name = name
        self.camera = camera
        self.rate_hz = rate_hz
        self.partner_name: str | None = None
        self.skipped: list[SkippedFrame] = []
        self.notes: list[str] = []

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of frames the recording holds, broken ones included."""

    @abstractmethod
    def _frames(self) -> Iterator[Frame]:
        """Yield the readable frames; call `_skip` for the others."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield `Frame` after `Frame`, from the start."""
        self.skipped = []
        return self._frames()

    def frames_from(self, start: int) -> Iterator[Frame]:
        """Yield the frames after the first ``start`` ones, broken ones counted; `skipped` names those from there on.

        Readers that can leave the earlier images undecoded do so.
        """
        self.skipped = []
        frames, number = self._frames(), 0
        while number + len(self.skipped) < start:
            if next(frames, None) is None:
                break
            number += 1
        self.skipped = []
        yield from frames

    def _skip(self, name: str, reason: str) -> None:
        self.skipped.append(SkippedFrame(name, reason))
        logger.warning("%s: frame %s skipped: %s", self.name, name, reason)

    def note(self, text: str) -> None:
        """Remember, once, what a user should know about how the recording was read."""
        if text not in self.notes:
            self.notes.append(text)
            logger.warning("%s: %s", self.name, text)


def median_rate_hz(stamps_ns: list[int]) -> float:
    """Return the rate of a list of stamps (nanoseconds) from their median distance; the default below two stamps."""
    distances = sorted(b - a for a, b in pairwise(stamps_ns) if b > a)
    return 1e9 / distances[len(distances) // 2] if distances else DEFAULT_RATE_HZ


def choose_camera(path: Path, names: Sequence[str], wanted: str | None, default: str) -> str:
    """Return the camera of a data set a caller asked for (``--topic``), or the default one.

    Raises:
        RecordingError: it is not there.
    """
    if wanted is None:
        return default if default in names else names[0]
    name = wanted.strip("/")
    if name not in names:
        raise RecordingError(f"'{path}' has no camera '{name}'; it has: {', '.join(names)}")
    return name
