"""Segments of the buffer, which are sequences of consecutive frames from the node, and their clips.

A segment is a folder: ``<stamp_ns>.png`` (rectified RGB), ``poses.txt`` (TUM: stamp, T_odom_camera of the optical
frame) and, written last, ``segment.json``. Without the latter it is incomplete.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError, RecordingError
from featdepth_ros.messages.decode import decode_image
from featdepth_ros.recordings.datasets.pose_files import read_truth
from featdepth_training.data.clip import Clip
from featdepth_training.data.source import Source

DESCRIPTION = "segment.json"
POSES = "poses.txt"
#: Tolerance in nanoseconds of stamps in ``poses.txt``, which are decimal seconds.
_SAME_STAMP_NS = 1_000_000


@dataclass(frozen=True)
class Segment:
    """One complete segment.

    Attributes:
        folder: its folder.
        held_out: whether it is for evaluation only.
        size: (height, width) of its images, pixels.
        camera: fx, fy, cx, cy, pixels.
        metric: whether the poses are in metres.
        stamps_ns: stamps of its frames, in order.
    """

    folder: Path
    held_out: bool
    size: tuple[int, int]
    camera: tuple[float, float, float, float]
    metric: bool
    stamps_ns: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.name

    @property
    def last_ns(self) -> int:
        """Stamp of its newest frame."""
        return self.stamps_ns[-1]

    def picture(self, index: int) -> bytes:
        """Return the content of the file of one frame.

        Raises:
            RecordingError: the file was deleted.
        """
        path = self.folder / f"{self.stamps_ns[index]}.png"
        try:
            return path.read_bytes()
        except OSError as error:
            raise RecordingError(f"{self.name}/{path.name} cannot be read: {error.strerror}") from error

    def poses(self) -> NDArray[np.float64]:
        """Return (N, 4, 4) T_odom_camera of every frame; NaN: unknown."""
        poses = np.full((len(self.stamps_ns), 4, 4), np.nan)
        path = self.folder / POSES
        table = read_truth(path, "tum")[0] if path.is_file() else None
        if table is not None and table.stamped:
            wanted = np.array(self.stamps_ns, np.int64)
            distance = np.abs(wanted[:, None] - table.keys[None])
            nearest = distance.argmin(1)
            known = distance[np.arange(len(wanted)), nearest] <= _SAME_STAMP_NS
            poses[known] = table.poses[nearest[known]]
        return poses


def read_segment(folder: Path) -> Segment | None:
    """Read the description of a segment; None if it is incomplete or was deleted.

    Raises:
        RecordingError: its description or its folder is invalid.
    """
    try:
        content: Any = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        stamps = sorted(int(path.stem) for path in folder.glob("*.png") if path.stem.isdecimal())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RecordingError(f"{folder.name}/{DESCRIPTION} cannot be read: {error}") from error
    try:
        height, width = (int(value) for value in content["size"])
        fx, fy, cx, cy = (float(value) for value in content["camera"])
        split, metric = content["split"], bool(content.get("metric", False))
    except (KeyError, TypeError, ValueError) as error:
        raise RecordingError(f"{folder.name}/{DESCRIPTION} is not as expected: {error!r}") from error
    if split not in ("train", "held_out") or min(height, width) < 1 or not all(map(math.isfinite, (fx, fy, cx, cy))):
        raise RecordingError(f"{folder.name}/{DESCRIPTION} holds split '{split}', size {height}x{width}, focal {fx}")
    if not stamps:
        raise RecordingError(f"{folder.name} holds no picture")
    return Segment(folder, split == "held_out", (height, width), (fx, fy, cx, cy), metric, tuple(stamps))


def decode_picture(data: bytes, size: tuple[int, int], what: str) -> NDArray[np.uint8]:
    """Decode (H, W, 3) uint8 RGB and compare its size.

    Raises:
        RecordingError: the data is no image, or has another size; the message begins with ``what``.
    """
    try:
        image = decode_image(data)
    except ImageError as error:
        raise RecordingError(f"{what} is not an image: {error}") from error
    if image.shape[:2] != size:
        raise RecordingError(f"{what} is {image.shape[0]}x{image.shape[1]}; expected {size[0]}x{size[1]}")
    return image


class SegmentClips(Sequence[Clip]):
    """Clips of one segment, with its files in memory, since the node may delete the segment at any time.

    Args:
        segment: the segment.
        clips: numbers of the frames of each clip.
        matched: frame number -> (H, W) float16 depth by matching, up to scale.

    Raises:
        RecordingError: a file was deleted.
    """

    def __init__(
        self,
        segment: Segment,
        clips: Sequence[tuple[int, ...]],
        matched: Mapping[int, NDArray[np.float16]] | None = None,
    ) -> None:
        self.segment, self._clips, self._matched = segment, list(clips), dict(matched or {})
        self._poses = segment.poses()
        self._files = {index: segment.picture(index) for index in sorted({i for clip in clips for i in clip})}

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: Any) -> Any:
        """Return one clip, decoded.

        Raises:
            RecordingError: a file is not an image of the segment's size.
        """
        chosen, segment = list(self._clips[index]), self.segment
        images = [
            decode_picture(self._files[i], segment.size, f"{segment.name}/{segment.stamps_ns[i]}.png") for i in chosen
        ]
        return Clip(
            images=np.stack(images),
            depth=None,
            poses=self._poses[chosen],
            camera=np.array(segment.camera),
            stamps_ns=np.array([segment.stamps_ns[i] for i in chosen], np.int64),
            pseudo_depth=self._pseudo_depth(chosen),
        )

    def _pseudo_depth(self, chosen: Sequence[int]) -> NDArray[np.float16] | None:
        if not self._matched:
            return None
        unknown = np.full(self.segment.size, np.nan, np.float16)
        return np.stack([self._matched.get(i, unknown) for i in chosen])

    def source(self) -> Source:
        """Return the clips as a source of samples."""
        return Source(
            self.segment.name, self, float(len(self)), False, self.segment.size, location=str(self.segment.folder)
        )
