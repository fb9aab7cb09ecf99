"""`Recording`: the common interface of all recordings that `open_recording` returns."""

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

#: Rate in frames per second of recordings without stamps, if no rate is given.
DEFAULT_RATE_HZ = 10.0


@dataclass(frozen=True)
class SkippedFrame:
    """A frame that could not be read: its name and the reason."""

    name: str
    reason: str


class Recording(ABC):
    """Frames of one camera in order of time. It can be iterated repeatedly, and reads one frame at a time.

    Attributes:
        name: short name of the recording (file or folder stem).
        kind: ``image``, ``images``, ``video``, ``bag``, ``kitti_odometry``, ``kitti_raw``, ``euroc``, ``tum``,
            ``seven_scenes``, ``nyu``, ``eth3d``, ``cityscapes``, ``make3d``.
        camera: calibration of every frame, or None when the recording has none and none was given.
        partner_name: the other camera of the stereo pair, or None if no partner was requested.
        rate_hz: nominal frames per second of the recording (median stamp distance).
        skipped: broken frames of the latest iteration, which were left out.
        notes: notes to the user about the recording (a truncated bag, a fallback).
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
        """Return the number of frames in the recording, including broken ones."""

    @abstractmethod
    def _frames(self) -> Iterator[Frame]:
        """Yield the readable frames; call `_skip` for the others."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield all frames from the start."""
        self.skipped = []
        return self._frames()

    def frames_from(self, start: int) -> Iterator[Frame]:
        """Yield the frames from number ``start`` on, counted with broken ones; `skipped` lists only later ones.

        Readers do not decode the earlier images if they can avoid it.
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
        """Add a note to the user, unless it exists already."""
        if text not in self.notes:
            self.notes.append(text)
            logger.warning("%s: %s", self.name, text)


def median_rate_hz(stamps_ns: list[int]) -> float:
    """Return the rate (Hz) of stamps in nanoseconds from their median distance; the default for fewer than two."""
    distances = sorted(b - a for a, b in pairwise(stamps_ns) if b > a)
    return 1e9 / distances[len(distances) // 2] if distances else DEFAULT_RATE_HZ


def choose_camera(path: Path, names: Sequence[str], wanted: str | None, default: str) -> str:
    """Return the requested camera of a dataset (``--topic``), or the default one.

    Raises:
        RecordingError: the dataset has no such camera.
    """
    if wanted is None:
        return default if default in names else names[0]
    name = wanted.strip("/")
    if name not in names:
        raise RecordingError(f"'{path}' has no camera '{name}'; it has: {', '.join(names)}")
    return name
