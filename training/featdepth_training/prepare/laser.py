"""True depth of KITTI raw drives from their laser, by the protocol of Eigen et al., for AbsRel in validation.

One pixel in twenty has depth. It is used only for validation, not for training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics.lidar import kitti_velodyne_projection, lidar_depth_map
from featdepth_ros.recordings.datasets import layouts
from featdepth_ros.recordings.datasets.tables import labelled
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.recording import Recording


def with_laser_depth(recording: Recording, path: Path, topic: str | None) -> Recording:
    """Return a recording whose frames have the depth of the laser, if drive and calibration provide it.

    Args:
        recording: the opened recording; it is returned unchanged unless it is a synchronised KITTI raw drive.
        path: path of its files.
        topic: its camera; None: ``image_02``.
    """
    if recording.kind != "kitti_raw" or not path.name.endswith("_sync"):
        return recording
    calibrations = [
        next((file for file in (path.parent / name, path / name) if file.is_file()), None)
        for name in ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt")
    ]
    cloud = layouts.kitti_raw_laser(path, 0).parent
    if None in calibrations or not cloud.is_dir():
        return recording
    cam_to_cam, velo_to_cam = (labelled(file) for file in calibrations if file is not None)
    camera = int((topic or "image_02").strip("/")[-2:])
    try:
        projection, _ = kitti_velodyne_projection(cam_to_cam, velo_to_cam, camera)
    except EvaluationError as error:
        recording.note(f"frames come without the laser's depth: {error}")
        return recording
    return _WithLaser(recording, path, projection)


class _WithLaser(Recording):
    """A KITTI raw drive whose frames have depth."""

    kind = "kitti_raw"

    def __init__(self, drive: Recording, path: Path, projection: NDArray[np.float64]) -> None:
        super().__init__(drive.name, drive.camera, drive.rate_hz)
        self.partner_name, self._drive, self._path = drive.partner_name, drive, path
        self.notes = drive.notes
        self._projection = projection

    def __len__(self) -> int:
        return len(self._drive)

    def _frames(self) -> Iterator[Frame]:
        return self._read(iter(self._drive))

    def frames_from(self, start: int) -> Iterator[Frame]:
        """See `Recording.frames_from`."""
        return self._read(self._drive.frames_from(start))

    def _read(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            self.skipped = self._drive.skipped
            yield replace(frame, depth=self._depth(frame))
        self.skipped = self._drive.skipped

    def _depth(self, frame: Frame) -> NDArray[np.float32] | None:
        """Return the depth of a frame, (H, W) metres, NaN without a laser return; None if its points are missing."""
        file = layouts.kitti_raw_laser(self._path, int(frame.name)) if frame.name.isdecimal() else None
        if file is None or not file.is_file():
            return None
        values = np.fromfile(file, np.float32)
        if values.size % 4:
            self.note(f"{file} has {values.size} numbers; expected 4 per point, so its frame has no depth")
            return None
        height, width = frame.image.shape[:2]
        depth = lidar_depth_map(values.reshape(-1, 4), self._projection, (height, width))
        return np.where(depth > 0, depth, np.float32(np.nan))
