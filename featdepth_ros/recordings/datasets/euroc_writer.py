"""Writes frames to a EuRoC folder (ASL layout)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError, RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.recordings.datasets.folder_writer import (
    new_folder,
    pairs,
    required_camera,
    stereo_transform,
    write_bytes,
    write_png,
)
from featdepth_ros.recordings.datasets.pose_files import euroc_text
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.recording import median_rate_hz

_MODELS = {"none": "radial-tangential", "plumb_bob": "radial-tangential", "equidistant": "equidistant"}


def write_euroc(folder: str | Path, frames: Iterable[Frame], right_frames: Iterable[Frame] | None = None) -> int:
    """Write frames into ``folder/mav0``: ``cam0`` (and ``cam1``) with sensor.yaml, data.csv and images by stamp.

    If all frames have poses, ``state_groundtruth_estimate0/data.csv`` holds the poses of the body: x forward, z up, at
    the left camera. The origin of the world is the first pose. Biases are zero, velocities are differences. Images
    keep their colour. Depth is not written, because the layout has none. Frames are written one at a time.

    Returns:
        The number of (left) frames written.

    Raises:
        RecordingError: the folder's ``mav0`` exists or cannot be written, or ``frames`` is empty.
        CalibrationError: the layout does not support the distortion model, or a stereo pair has no poses.
    """
    root = new_folder(Path(folder) / "mav0")
    body_left = se3.T_BODY_OPTICAL
    stamps: list[int] = []
    poses: list[NDArray[np.float64]] = []
    first: tuple[Frame, Frame | None] | None = None
    for left, right in pairs(frames, right_frames):
        if first is None:
            first = (left, right)
            for name, frame in (("cam0", left), ("cam1", right)):
                if frame is not None:
                    (root / name / "data").mkdir(parents=True)
        for name, frame in (("cam0", left), ("cam1", right)):
            if frame is not None:
                write_png(root / name / "data" / f"{left.stamp_ns}.png", frame.image)
        stamps.append(left.stamp_ns)
        if left.T_world_camera is not None:
            poses.append(left.T_world_camera @ se3.inverse(body_left))
    if first is None:
        raise RecordingError(f"there is no frame to write into '{root}': the recording has no readable one")
    left, right = first
    _write_sensor(root / "cam0", left, body_left, stamps)
    if right is not None:
        _write_sensor(root / "cam1", right, body_left @ stereo_transform(left, right), stamps)
    write_bytes(root / "body.yaml", b"%YAML:1.0\ncomment: body with x forward, y left, z up\n")
    if len(poses) == len(stamps):
        _write_states(root / "state_groundtruth_estimate0", stamps, poses)
    return len(stamps)


def _write_sensor(folder: Path, frame: Frame, T_body_camera: NDArray[np.float64], stamps: list[int]) -> None:
    camera = required_camera(frame, "EuRoC")
    model = _MODELS.get(camera.distortion_model)
    if model is None:
        raise CalibrationError(
            f"a EuRoC folder cannot hold distortion model '{camera.distortion_model}'; write a bag instead"
        )
    distortion = camera.distortion or (0.0,) * 4
    if len(distortion) == 5 and distortion[4] == 0.0:
        distortion = distortion[:4]
    rows = ",\n         ".join(", ".join(repr(float(v)) for v in row) for row in T_body_camera)
    text = (
        "%YAML:1.0\n"
        f"sensor_type: camera\ncomment: {folder.name}\n"
        f"T_BS:\n  cols: 4\n  rows: 4\n  data: [{rows}]\n"
        f"rate_hz: {median_rate_hz(stamps):.6g}\nresolution: [{camera.width}, {camera.height}]\n"
        f"camera_model: pinhole\nintrinsics: [{camera.fx!r}, {camera.fy!r}, {camera.cx!r}, {camera.cy!r}]\n"
        f"distortion_model: {model}\ndistortion_coefficients: [{', '.join(map(repr, distortion))}]\n"
    )
    write_bytes(folder / "sensor.yaml", text.encode())
    listing = "".join(f"{stamp},{stamp}.png\n" for stamp in stamps)
    write_bytes(folder / "data.csv", ("#timestamp [ns],filename\n" + listing).encode())


def _write_states(folder: Path, stamps: list[int], poses: list[NDArray[np.float64]]) -> None:
    folder.mkdir()
    T_start_world = se3.inverse(poses[0])
    text = euroc_text(stamps, [T_start_world @ pose for pose in poses])
    write_bytes(folder / "data.csv", text.encode())
    write_bytes(folder / "sensor.yaml", b"%YAML:1.0\nsensor_type: visual-inertial\ncomment: true poses of the body\n")
