"""Writes frames to a KITTI odometry folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError, RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.datasets.folder_writer import (
    new_folder,
    pairs,
    required_camera,
    stereo_transform,
    write_bytes,
    write_png,
)
from featdepth_ros.recordings.datasets.layouts import KITTI_DEPTH
from featdepth_ros.recordings.datasets.pose_files import kitti_text
from featdepth_ros.recordings.datasets.tables import seconds_text
from featdepth_ros.recordings.frame import Frame


def write_kitti_odometry(
    folder: str | Path, frames: Iterable[Frame], right_frames: Iterable[Frame] | None = None, sequence: str = "00"
) -> int:
    """Write frames into ``folder/sequences/<sequence>`` and, when all have poses, ``folder/poses/<sequence>.txt``.

    The left camera is ``image_2``, the right one ``image_3`` (KITTI's colour cameras). ``P0 = P2`` and ``P1 = P3`` in
    ``calib.txt``, so poses of camera 0 are those of the left camera, re-based to its first frame. ``times.txt`` counts
    seconds from the first frame. Depth is written to ``depth_2`` if frames have it (16-bit PNG, metres * 256, 0
    unknown); the benchmark itself has no such folder. Frames are written one at a time.

    Returns:
        The number of (left) frames written.

    Raises:
        RecordingError: the sequence exists or cannot be written, or ``frames`` is empty.
        CalibrationError: a camera has distortion or rectification, or a stereo pair has no poses.
    """
    if not sequence or Path(sequence).name != sequence:
        raise RecordingError(f"'{sequence}' is not a name of a sequence; expected one such as 00")
    target = Path(folder) / "sequences" / sequence
    poses_file = Path(folder) / "poses" / f"{sequence}.txt"
    if poses_file.exists():
        raise RecordingError(f"'{poses_file}' exists already; name another output or remove it")
    new_folder(target)
    times: list[str] = []
    poses: list[NDArray[np.float64]] = []
    first: Frame | None = None
    for index, (left, right) in enumerate(pairs(frames, right_frames)):
        if first is None:
            first = left
            _write_calibration(target / "calib.txt", left, right)
            (target / "image_2").mkdir()
        name = f"{index:06d}.png"
        write_png(target / "image_2" / name, left.image)
        if right is not None:
            (target / "image_3").mkdir(exist_ok=True)
            write_png(target / "image_3" / name, right.image)
        if left.depth is not None:
            (target / "depth_2").mkdir(exist_ok=True)
            write_png(target / "depth_2" / name, _depth_16bit(left.depth))
        elapsed = left.stamp_ns - first.stamp_ns
        times.append(f"{seconds_text(elapsed)}\n")
        if left.T_world_camera is not None and first.T_world_camera is not None:
            poses.append(se3.inverse(first.T_world_camera) @ left.T_world_camera)
    if first is None:
        raise RecordingError(f"there is no frame to write into '{target}': the recording has no readable one")
    write_bytes(target / "times.txt", "".join(times).encode())
    if len(poses) == len(times):
        poses_file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(poses_file, kitti_text(poses).encode())
    return len(times)


def _pinhole(frame: Frame) -> CameraModel:
    camera = required_camera(frame, "KITTI odometry")
    if not camera.is_pinhole:
        raise CalibrationError("a KITTI odometry folder holds rectified images; write distorted ones as EuRoC or a bag")
    return camera


def _write_calibration(path: Path, left: Frame, right: Frame | None) -> None:
    p_left = np.hstack([_pinhole(left).K, np.zeros((3, 1))])
    p_right = p_left
    if right is not None:
        T_right_left = se3.inverse(stereo_transform(left, right))
        if not np.allclose(T_right_left[:3, :3], np.eye(3), atol=1e-6):
            raise CalibrationError(
                "the stereo pair is not rectified: the optical axes of its cameras are not parallel; write it as EuRoC"
            )
        p_right = _pinhole(right).K @ T_right_left[:3]
    lines = []
    for index, matrix in enumerate((p_left, p_right, p_left, p_right)):
        lines.append(f"P{index}: " + " ".join(f"{value:.12e}" for value in matrix.reshape(-1)) + "\n")
    write_bytes(path, "".join(lines).encode())


def _depth_16bit(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    scaled = np.round(depth.astype(np.float64) * KITTI_DEPTH.per_metre)
    known = np.isfinite(scaled) & (scaled >= 1.0) & (scaled <= 65535.0)
    return np.where(known, scaled, 0.0).astype(np.uint16)
