"""Indoor RGB-D folders with truth: 7-Scenes sequences, TUM RGB-D recordings and NYU Depth V2 scenes."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import distortion_of
from featdepth_ros.recordings.calibration.files import CameraArgument, resolve_camera
from featdepth_ros.recordings.datasets import layouts, tables
from featdepth_ros.recordings.datasets.pose_files import read_truth
from featdepth_ros.recordings.datasets.poses import interpolate
from featdepth_ros.recordings.files.images import (
    FileRecording,
    FrameFile,
    check_size,
    first_size,
)
from featdepth_ros.recordings.recording import median_rate_hz

KINECT_RATE_HZ = 30.0
#: TUM's published colour calibrations (fx fy cx cy, then k1 k2 p1 p2 k3), by the camera in the recording's name.
TUM_CALIBRATIONS: dict[str, tuple[float, ...]] = {
    "freiburg1": (517.306408, 516.469215, 318.643040, 255.313989)
    + (0.262383, -0.953104, -0.005358, 0.002628, 1.163314),
    "freiburg2": (520.908620, 521.007327, 325.141442, 249.701764)
    + (0.231222, -0.784899, -0.003257, -0.000105, 0.917205),
    "freiburg3": (535.4, 539.2, 320.1, 247.6) + (0.0, 0.0, 0.0, 0.0, 0.0),
}
#: fx fy cx cy of NYU Depth V2's colour camera, from the dataset's toolbox (camera_params.m).
NYU_CALIBRATION = (518.857901, 519.469611, 325.582449, 253.736166)
#: Longest gap (ns) between two poses that is interpolated.
BRIDGED_NS = 100_000_000


def is_seven_scenes(path: Path) -> bool:
    """Return whether a folder holds ``frame-000000.color.*`` with a pose file beside it."""
    return any(path.glob("frame-*.color.*")) and any(path.glob("frame-*.pose.txt"))


def is_tum(path: Path) -> bool:
    """Return whether a folder holds TUM's list of colour images, ``rgb.txt``, beside ``rgb``."""
    return (path / "rgb.txt").is_file() and (path / "rgb").is_dir()


def is_nyu(path: Path) -> bool:
    """Return whether a folder is a NYU scene: ``rgb_00000.jpg`` beside ``sync_depth_00000.png``."""
    return any(path.glob("rgb_*.*")) and any(path.glob("sync_depth_*.png"))


def open_nyu(path: Path, camera: CameraArgument, rate_hz: float | None) -> FileRecording:
    """Open a NYU Depth V2 scene in the layout of the usual extracts: ``rgb_*.jpg`` and ``sync_depth_*.png``.

    Depth is in millimetres, 0 unknown, registered to the colour image; frames without a depth file have no depth. The
    images were undistorted by the toolbox, so the camera is a pinhole: `NYU_CALIBRATION`. The extracts have no stamps:
    the number in the name counts at the given rate, else at 30 frames/s. `singles.LabelledNyu` reads the labelled file.

    Raises:
        RecordingError, CalibrationError: no image can be read, or they are not 640x480 and no calibration is given.
    """
    images = layouts.nyu_images(path)
    size = first_size(images)
    if size is None:
        raise RecordingError(f"none of the {len(images)} colour images in '{path}' can be read")
    model = resolve_camera(camera, size) or CameraModel(640, 480, *NYU_CALIBRATION)
    check_size(model, size, path.name)
    rate = rate_hz or KINECT_RATE_HZ
    frames = []
    for position, image in enumerate(images):
        number, depth = layouts.nyu_number(image), layouts.nyu_depth(image)
        index = int(number) if number.isdecimal() else position
        frames.append(FrameFile(image, round(index * 1e9 / rate), image.stem, depth if depth.is_file() else None))
    return FileRecording("nyu", path.name, frames, model, rate, layouts.NYU_DEPTH)


def open_seven_scenes(path: Path, camera: CameraArgument, rate_hz: float | None) -> FileRecording:
    """Open a 7-Scenes sequence: depth in mm (0 and 65535 invalid), camera-to-world poses, 30 frames/s.

    Intrinsics come from ``camera-intrinsics.txt`` (3x3) if it exists, else those of the dataset: 585 585 320 240.

    Raises:
        RecordingError, CalibrationError: a file is malformed or no image can be read.
    """
    images = layouts.seven_scenes_images(path)
    size = first_size(images)
    if size is None:
        raise RecordingError(f"none of the {len(images)} colour images in '{path}' can be read")
    intrinsics = path / "camera-intrinsics.txt"
    k = (585.0, 585.0, 320.0, 240.0)
    if intrinsics.is_file():
        m = np.array([tables.numbers(intrinsics, line, fields, 3) for line, fields in tables.rows(intrinsics)])
        if m.shape != (3, 3):
            raise RecordingError(f"{intrinsics} does not hold 3 lines of 3 numbers")
        k = (float(m[0, 0]), float(m[1, 1]), float(m[0, 2]), float(m[1, 2]))
    model = resolve_camera(camera, size) or CameraModel(*size, *k)
    check_size(model, size, path.name)
    rate = rate_hz or KINECT_RATE_HZ
    frames, bad = [], []
    for index, image in enumerate(images):
        stem, depth = layouts.seven_scenes_stem(image), layouts.seven_scenes_depth(image)
        pose = path / f"{stem}.pose.txt"
        matrix = None
        try:
            matrix = _stored_pose(pose) if pose.is_file() else None
        except RecordingError as error:
            bad.append(str(error))
        frames.append(FrameFile(image, round(index * 1e9 / rate), stem, depth if depth.is_file() else None, matrix))
    recording = FileRecording("seven_scenes", path.name, frames, model, rate, layouts.SEVEN_SCENES_DEPTH)
    if bad:
        recording.note(f"{len(bad)} of the {len(frames)} frames have no pose that can be used, the first: {bad[0]}")
    return recording


def _stored_pose(path: Path) -> NDArray[np.float64]:
    values = np.array([tables.numbers(path, line, fields, 4) for line, fields in tables.rows(path)])
    if values.shape != (4, 4):
        raise RecordingError(f"{path} does not hold 4 lines of 4 numbers")
    rotation = values[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-2) or np.linalg.det(rotation) < 0:
        raise RecordingError(f"{path} holds no rotation; expected an orthonormal 3x3 part")
    return se3.make(rotation, values[:3, 3])


def open_tum(path: Path, camera: CameraArgument, rate_hz: float | None) -> FileRecording:
    """Open a TUM RGB-D recording: depth (5000 = 1 m) within 20 ms of the colour image, poses interpolated.

    Intrinsics are TUM's published ones if the folder's name contains the camera (``freiburg1`` or ``fr1``, ...).

    Raises:
        RecordingError, CalibrationError: a table is malformed or no image can be read.
    """
    colour = layouts.tum_images(path, "rgb")
    depth = layouts.tum_images(path, "depth") if (path / "depth.txt").is_file() else []
    truth = path / "groundtruth.txt"
    table, note = read_truth(truth, "tum") if truth.is_file() else (None, "")
    stamps, poses = table.ascending() if table is not None else ([], [])
    size = first_size([file for _, file in colour])
    if size is None:
        raise RecordingError(f"none of the {len(colour)} images listed in {path / 'rgb.txt'} can be read")
    model = resolve_camera(camera, size) or _tum_camera(path.name, size)
    if model is not None:
        check_size(model, size, path.name)
    frames = [
        FrameFile(file, stamp, file.stem, nearest_depth(depth, stamp), interpolate(stamps, poses, stamp, BRIDGED_NS))
        for stamp, file in colour
    ]
    rate = rate_hz or median_rate_hz([stamp for stamp, _ in colour])
    recording = FileRecording("tum", path.name, frames, model, rate, layouts.TUM_DEPTH)
    if note:
        recording.note(note)
    return recording


def nearest_depth(listed: list[tuple[int, Path]], stamp_ns: int) -> Path | None:
    """Return the depth image nearest in time to a colour image; None if it is too far away.

    Args:
        listed: (stamp in ns, file) of the depth images, ascending.
        stamp_ns: stamp of the colour image.
    """
    position = bisect_left(listed, (stamp_ns, Path()))
    near = min(listed[max(0, position - 1) : position + 1], key=lambda entry: abs(entry[0] - stamp_ns), default=None)
    return near[1] if near is not None and abs(near[0] - stamp_ns) <= layouts.TUM_DIFFERENCE_NS else None


def _tum_camera(name: str, size: tuple[int, int]) -> CameraModel | None:
    for key, values in TUM_CALIBRATIONS.items():
        if key in name or f"fr{key[-1]}" in name:
            model, distortion = distortion_of("plumb_bob", values[4:])
            fx, fy, cx, cy = values[:4]
            return CameraModel(*size, fx, fy, cx, cy, distortion_model=model, distortion=distortion)
    return None
