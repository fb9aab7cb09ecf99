"""Segments of the buffer: folders of consecutive frames. Each is an ordinary recording, a folder of images.

``<stamp_ns>.png`` are rectified images, ``camera.yaml`` is their pinhole camera, ``poses.txt`` holds T_odom_camera of
the optical frame (TUM). ``segment.json`` is written last; a segment without it is incomplete.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.files import atomic_write
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.datasets.folder_writer import new_folder, write_bytes, write_png
from featdepth_ros.recordings.datasets.pose_files import tum_text

DESCRIPTION, POSES, CAMERA = "segment.json", "poses.txt", "camera.yaml"
Split = Literal["train", "held_out"]


@dataclass(frozen=True)
class StoredSegment:
    """A complete segment.

    Attributes:
        folder: its folder, whose name is an increasing number.
        split: ``train``: for training; ``held_out``: for evaluation only.
        frames: number of frames.
        bytes: size on the disk.
        last_ns: stamp of the newest frame, nanoseconds.
    """

    folder: Path
    split: Split
    frames: int
    bytes: int
    last_ns: int

    def remove(self) -> None:
        """Delete the segment. A concurrent reader sees an incomplete segment."""
        (self.folder / DESCRIPTION).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def read_stored(folder: Path) -> StoredSegment | None:
    """Read the description of a segment; None if the segment is incomplete or its description damaged."""
    try:
        facts: Any = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        split: Split = "held_out" if facts["split"] == "held_out" else "train"
        return StoredSegment(folder, split, int(facts["frames"]), int(facts["bytes"]), int(facts["last_ns"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class OpenSegment:
    """A segment that is being written.

    Args:
        folder: folder to create.
        split: see `StoredSegment`.
        camera: pinhole camera of all its pictures.
        metric: whether poses are in metres.

    Raises:
        RecordingError: the folder exists or cannot be created.
    """

    def __init__(self, folder: Path, split: Split, camera: CameraModel, metric: bool) -> None:
        self.folder, self.split, self.camera, self.metric = new_folder(folder), split, camera, metric
        self.bytes = 0
        self._stamps: list[int] = []
        self._poses: list[NDArray[np.float64] | None] = []

    def __len__(self) -> int:
        return len(self._stamps)

    def add(self, image: NDArray[np.uint8], stamp_ns: int, T_odom_camera: NDArray[np.float64] | None) -> None:
        """Store a frame.

        Args:
            image: (h, w, 3) uint8 RGB.
            stamp_ns: nanoseconds, later than the stamp of the previous frame.
            T_odom_camera: (4, 4) pose of the optical frame; None: unknown.

        Raises:
            RecordingError: the disk is full.
        """
        path = self.folder / f"{stamp_ns}.png"
        write_png(path, image)
        self.bytes += path.stat().st_size
        self._stamps.append(stamp_ns)
        self._poses.append(T_odom_camera)

    def finish(self) -> StoredSegment:
        """Complete the segment and return its description.

        Raises:
            RecordingError, OSError: the disk is full.
        """
        camera = self.camera
        known = [(stamp, pose) for stamp, pose in zip(self._stamps, self._poses, strict=True) if pose is not None]
        poses = tum_text([s for s, _ in known], [p for _, p in known], "stamp x y z qx qy qz qw of T_odom_camera")
        numbers = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
        lines = [f"width: {camera.width}", f"height: {camera.height}", *(f"{k}: {v!r}" for k, v in numbers.items())]
        for name, text in ((POSES, poses), (CAMERA, "\n".join(lines) + "\n")):
            write_bytes(self.folder / name, text.encode())
            self.bytes += len(text.encode())
        facts = {
            "split": self.split,
            "frames": len(self),
            "size": [camera.height, camera.width],
            "camera": list(numbers.values()),
            "metric": self.metric,
            "first_ns": self._stamps[0],
            "last_ns": self._stamps[-1],
            "bytes": self.bytes,
        }
        atomic_write(self.folder / DESCRIPTION, json.dumps(facts, indent=1) + "\n")
        return StoredSegment(self.folder, self.split, len(self), self.bytes, self._stamps[-1])

    def drop(self) -> None:
        """Delete the files written so far."""
        shutil.rmtree(self.folder, ignore_errors=True)
