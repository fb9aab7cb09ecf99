"""KITTI folders: odometry sequences and raw drives.

Layouts as the benchmark's development kits describe them: the projection matrices ``P0..P3`` (``P_rect_00..03``) are of
the rectified cameras, poses are of camera 0 in the frame of its first image, one line of 12 numbers a frame.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings import tables
from featdepth_ros.recordings.calibration import CameraArgument, resolve_camera
from featdepth_ros.recordings.images import FileRecording, FrameFile, check_size, first_size, image_files
from featdepth_ros.recordings.recording import DEFAULT_RATE_HZ, median_rate_hz

#: KITTI's 16-bit depth images: value / 256 is metres, 0 is unknown.
DEPTH_PER_METRE = 256.0


def is_kitti_odometry(path: Path) -> bool:
    """Tell whether a folder is an odometry sequence: ``calib.txt`` beside ``image_0`` to ``image_3``."""
    return (path / "calib.txt").is_file() and bool(_cameras(path, "image_[0-3]"))


def is_kitti_raw(path: Path) -> bool:
    """Tell whether a folder is a raw drive: ``image_00`` to ``image_03``, each with ``data``."""
    return any((camera / "data").is_dir() for camera in _cameras(path, "image_0[0-3]"))


def _cameras(path: Path, pattern: str) -> list[Path]:
    return sorted(p for p in path.glob(pattern) if p.is_dir())


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


def open_kitti_odometry(path: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None) -> FileRecording:
    """Open an odometry sequence (the colour camera ``image_2`` when there, else ``image_0``).

    Poses come from ``poses.txt`` inside the sequence or ``poses/<sequence>.txt`` beside ``sequences``; they are moved
    from camera 0 to the camera opened.

    Raises:
        RecordingError, CalibrationError: a file is malformed, or there are fewer stamps or poses than frames.
    """
    name = choose_camera(path, [p.name for p in _cameras(path, "image_[0-3]")], topic, "image_2")
    files = image_files(path / name)
    size = _size_or_error(path / name, files)
    label = f"P{name[-1]}"
    projections = tables.labelled(path / "calib.txt")
    if len(projections.get(label, [])) != 12:
        raise RecordingError(f"{path / 'calib.txt'} has no line '{label}:' with 12 numbers")
    projection = np.array(projections[label]).reshape(3, 4)
    model = resolve_camera(camera, size) or camera_from_projection(projection, size)
    check_size(model, size, path.name)
    stamps = _stamps(path / "times.txt", len(files), rate_hz)
    poses = _poses(path)
    T_camera_camera0 = se3.make(np.eye(3), np.linalg.solve(projection[:, :3], projection[:, 3]))
    indices = [int(f.stem) if f.stem.isdigit() else i for i, f in enumerate(files)]
    for what, lines in (("times.txt", stamps), ("the poses", poses)):
        if lines and max(indices) >= len(lines):
            raise RecordingError(f"'{path}': image {max(indices):06d} has no line in {what} ({len(lines)} lines)")
    T_camera0_camera = se3.inverse(T_camera_camera0)
    depth = path / f"depth_{name[-1]}"
    frames = [
        FrameFile(
            file,
            stamps[index],
            file.stem,
            depth / f"{file.stem}.png" if depth.is_dir() else None,
            poses[index] @ T_camera0_camera if poses else None,
        )
        for file, index in zip(files, indices, strict=True)
    ]
    rate = median_rate_hz(stamps)
    return FileRecording("kitti_odometry", f"kitti_{path.name}", frames, model, rate, DEPTH_PER_METRE)


def camera_from_projection(projection: NDArray[np.float64], size: tuple[int, int]) -> CameraModel:
    """Return the pinhole camera of a rectified image from its 3x4 projection matrix (pixels) and (width, height)."""
    p = projection
    return CameraModel(*size, float(p[0, 0]), float(p[1, 1]), float(p[0, 2]), float(p[1, 2]))


def _size_or_error(folder: Path, files: Sequence[Path]) -> tuple[int, int]:
    size = first_size(files)
    if size is None:
        raise RecordingError(f"'{folder}' holds {len(files)} image files and none can be read")
    return size


def _stamps(path: Path, count: int, rate_hz: float | None) -> list[int]:
    if rate_hz is not None or not path.is_file():
        period = 1e9 / (rate_hz or DEFAULT_RATE_HZ)
        first_unlisted = max((int(p.stem) for p in image_files(path.parent) if p.stem.isdigit()), default=0)
        return [round(index * period) for index in range(max(count, first_unlisted + 1))]
    return [tables.seconds_to_ns(fields[0], path, line) for line, fields in tables.rows(path)]


def _poses(path: Path) -> list[NDArray[np.float64]]:
    for candidate in (path / "poses.txt", path.parents[1] / "poses" / f"{path.name}.txt"):
        if candidate.is_file():
            return tables.kitti_poses(candidate)
    return []


def open_kitti_raw(path: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None) -> FileRecording:
    """Open a raw drive (camera ``image_02`` unless named); ``_sync`` drives are rectified, ``_extract`` ones are not.

    Raises:
        RecordingError, CalibrationError: a file is missing or malformed.
    """
    name = choose_camera(path, [p.name for p in _cameras(path, "image_0[0-3]")], topic, "image_02")
    files = image_files(path / name / "data")
    size = _size_or_error(path / name / "data", files)
    model = resolve_camera(camera, size)
    if model is None:
        model = _raw_camera(path, name[-2:], size)
    if model is not None:
        check_size(model, size, path.name)
    stamps = _raw_stamps(path / name / "timestamps.txt") if rate_hz is None else []
    rate = rate_hz or median_rate_hz(stamps)
    if stamps and len(stamps) < len(files):
        raise RecordingError(f"{path / name / 'timestamps.txt'} has {len(stamps)} lines for {len(files)} images")
    frames = []
    for position, file in enumerate(files):
        index = int(file.stem) if file.stem.isdigit() else position
        listed = stamps[index] if index < len(stamps) else None
        frames.append(FrameFile(file, round(index * 1e9 / rate) if listed is None else listed, file.stem))
    return FileRecording("kitti_raw", path.name, frames, model, rate)


def _raw_camera(path: Path, number: str, size: tuple[int, int]) -> CameraModel | None:
    for folder in (path.parent, path):
        file = folder / "calib_cam_to_cam.txt"
        if file.is_file():
            break
    else:
        return None
    lines = tables.labelled(file)
    if path.name.endswith("_extract"):
        k, d = lines.get(f"K_{number}", []), lines.get(f"D_{number}", [])
        if len(k) != 9 or len(d) != 5:
            raise RecordingError(f"{file} has no lines K_{number} (9 numbers) and D_{number} (5 numbers)")
        return CameraModel(*size, k[0], k[4], k[2], k[5], distortion_model="plumb_bob", distortion=tuple(d))
    if len(lines.get(f"P_rect_{number}", [])) != 12:
        raise RecordingError(f"{file} has no line 'P_rect_{number}:' with 12 numbers")
    return camera_from_projection(np.array(lines[f"P_rect_{number}"]).reshape(3, 4), size)


def _raw_stamps(path: Path) -> list[int]:
    """Read ``2011-09-26 13:02:25.594360375`` a line, taken as UTC, to the nanosecond."""
    if not path.is_file():
        return []
    stamps = []
    for line, fields in tables.rows(path):
        text = " ".join(fields)
        whole, _, fraction = text.partition(".")
        try:
            moment = datetime.datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.timezone.utc)
            stamps.append(int(moment.timestamp()) * 1_000_000_000 + int((fraction + "0" * 9)[:9]))
        except ValueError as error:
            raise RecordingError(f"{path}, line {line}: '{text}' is no date and time") from error
    return stamps
