"""Writes moving, sharp image sequences of a robot into a buffer of limited size; some of them are held out."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.buffer.segments import OpenSegment, Split, StoredSegment, read_stored
from featdepth_ros.recordings.selection import Selector

#: One of this many segments is held out. It is the second one, so that evaluation can begin early.
HELD_OUT_EVERY = 5
#: Number of frames of a full segment, and the least of one that is kept, since a frame needs neighbours.
SEGMENT_FRAMES, LEAST_FRAMES = 24, 4
#: Stamps below this count from the start of a simulation and are no dates.
_DATES_NS = 10**18
#: Gap that is inserted after the clock went back, so that a new sequence begins.
_SEAM_NS = 2 * 10**9


@dataclass(frozen=True)
class BufferFigures:
    """Content of the buffer.

    Attributes:
        segments: number of complete segments, by split.
        frames: number of their frames, by split.
        bytes: size of these segments and the current one.
        seen: number of offered frames, by outcome: ``kept``, ``static``, ``blurred``, ``lost``...
    """

    segments: dict[str, int]
    frames: dict[str, int]
    bytes: int
    seen: dict[str, int]


class BufferWriter:
    """Keeps the newest sequences of one camera on the disk. One process and one thread at a time may write.

    The oldest training segments are removed first; held-out segments keep a fifth of the space. Standing, blurred and
    lost frames add nothing. Stamps in the buffer never go back: after a jump of the clock they are shifted.

    Args:
        folder: folder of the buffer, created if needed; incomplete segments of a killed writer are removed.
        most_mb: largest size of the buffer, megabytes.
        now_ns: returns the current time, nanoseconds since 1970, to date the stamps of simulators.

    Raises:
        RecordingError: the folder cannot be created.
    """

    def __init__(self, folder: Path, most_mb: float, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._folder, self._most_bytes, self._now_ns = folder, round(most_mb * 1e6), now_ns
        try:
            folder.mkdir(parents=True, exist_ok=True)
            inside = sorted((p for p in folder.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))
        except OSError as error:
            raise RecordingError(f"the buffer '{folder}' cannot be used: {error.strerror}") from error
        self._stored: list[StoredSegment] = []
        for path in inside:
            segment = read_stored(path)
            if segment is None:
                shutil.rmtree(path, ignore_errors=True)
            else:
                self._stored.append(segment)
        self._number = int(self._stored[-1].folder.name) if self._stored else 0
        self._open: OpenSegment | None = None
        self._selector = Selector()
        self._source: tuple[CameraModel, bool] | None = None
        self._seen: Counter[str] = Counter()
        self._offset_ns = 0
        self._newest_ns = max((s.last_ns for s in self._stored), default=0)
        self._make_room()

    @property
    def newest_ns(self) -> int:
        """Newest stamp in the buffer after shifts, nanoseconds; 0: the buffer is empty."""
        return self._newest_ns

    @property
    def figures(self) -> BufferFigures:
        """Current content of the buffer."""
        segments: Counter[str] = Counter()
        frames: Counter[str] = Counter()
        for segment in self._stored:
            segments[segment.split] += 1
            frames[segment.split] += segment.frames
        return BufferFigures(dict(segments), dict(frames), self._bytes(), dict(self._seen))

    def add(
        self,
        image: NDArray[np.uint8],
        camera: CameraModel,
        stamp_ns: int,
        T_odom_camera: NDArray[np.float64] | None,
        metric: bool,
    ) -> str:
        """Add the next frame of a sequence, or leave it out.

        Args:
            image: (h, w, 3) uint8 RGB, rectified.
            camera: pinhole camera of the image.
            stamp_ns: stamp of the image, nanoseconds.
            T_odom_camera: (4, 4) pose of the optical frame; None: unknown.
            metric: whether the pose is in metres.

        Returns:
            The verdict of `Selector.judge`; ``static`` and ``blurred`` frames are left out.

        Raises:
            RecordingError, OSError: the disk is full, or the folder is gone.
        """
        if self._source != (camera, metric):
            self._finish()
            self._selector, self._source = Selector(), (camera, metric)
        stamp_ns = self._steady(stamp_ns)
        verdict = "static" if stamp_ns == self._newest_ns else self._selector.judge(image, stamp_ns)
        self._seen[verdict] += 1
        if verdict in ("static", "blurred"):
            return verdict
        if verdict != "kept":
            self._finish()
        if self._open is None:
            self._number += 1
            split: Split = "held_out" if self._number % HELD_OUT_EVERY == 2 else "train"
            self._open = OpenSegment(self._folder / f"{self._number:06d}", split, camera, metric)
        self._open.add(image, stamp_ns, T_odom_camera)
        self._newest_ns = stamp_ns
        if len(self._open) >= SEGMENT_FRAMES or self._open.bytes * 4 > self._most_bytes:
            self._finish()
        self._make_room()
        return verdict

    def interrupt(self) -> None:
        """End the sequence, because frames are missing or their motion is lost.

        Raises:
            RecordingError, OSError: the disk is full.
        """
        self._seen["lost"] += 1
        self._finish()
        self._selector = Selector()

    def close(self) -> None:
        """Complete the current segment.

        Raises:
            RecordingError, OSError: the disk is full.
        """
        self._finish()

    # -- parts ----------------------------------------------------------------------------------------------------

    def _steady(self, stamp_ns: int) -> int:
        """Return the shifted stamp: a date, and never before the newest one."""
        steady = stamp_ns + self._offset_ns
        if steady < self._newest_ns or steady < _DATES_NS:
            today_ns = self._now_ns() if stamp_ns < _DATES_NS else 0
            self._offset_ns = max(self._newest_ns + _SEAM_NS, today_ns) - stamp_ns
        return stamp_ns + self._offset_ns

    def _finish(self) -> None:
        now, self._open = self._open, None
        if now is None:
            return
        if len(now) < LEAST_FRAMES:
            now.drop()
            self._number -= 1
            return
        self._stored.append(now.finish())

    def _bytes(self) -> int:
        return sum(s.bytes for s in self._stored) + (0 if self._open is None else self._open.bytes)

    def _make_room(self) -> None:
        while self._stored and self._bytes() > self._most_bytes:
            held_out = [s for s in self._stored if s.split == "held_out"]
            training = [s for s in self._stored if s.split == "train"]
            too_many = len(held_out) > 1 and sum(s.bytes for s in held_out) * HELD_OUT_EVERY > self._most_bytes
            gone = held_out[0] if too_many or not training else training[0]
            gone.remove()
            self._stored.remove(gone)
