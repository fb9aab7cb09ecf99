"""KITTI folders: odometry sequences and raw drives.

Layouts are as the benchmark's development kits describe them. The projection matrices ``P0..P3`` (``P_rect_00..03``)
belong to the rectified cameras. Poses are those of camera 0 in the frame of its first image, one line of 12 numbers per
frame.
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
from featdepth_ros.recordings.calibration.extrinsics import make_rig
from featdepth_ros.recordings.calibration.files import CameraArgument, resolve_camera
from featdepth_ros.recordings.calibration.stereo import (
    PartnerRequest,
    between_rectified,
    choose_partner,
    projection_offset,
)
from featdepth_ros.recordings.datasets import layouts, tables
from featdepth_ros.recordings.datasets.pose_files import read_times, read_truth
from featdepth_ros.recordings.files.images import (
    FileRecording,
    FrameFile,
    check_size,
    first_size,
    paired_files,
    why_unreadable,
)
from featdepth_ros.recordings.files.names import image_files
from featdepth_ros.recordings.recording import DEFAULT_RATE_HZ, choose_camera, median_rate_hz


def is_kitti_odometry(path: Path) -> bool:
    """Return whether a folder is an odometry sequence: ``calib.txt`` beside ``image_0`` to ``image_3``."""
    return (path / "calib.txt").is_file() and bool(layouts.camera_folders(path, layouts.KITTI_ODOMETRY_CAMERAS))


def is_kitti_raw(path: Path) -> bool:
    """Return whether a folder is a raw drive: ``image_00`` to ``image_03``, each with ``data``."""
    return any((camera / "data").is_dir() for camera in layouts.camera_folders(path, layouts.KITTI_RAW_CAMERAS))


def open_kitti_odometry(
    path: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None, partner: PartnerRequest | None = None
) -> FileRecording:
    """Open an odometry sequence (the colour camera ``image_2`` if it exists, else ``image_0``).

    Poses come from ``poses.txt`` in the sequence or ``poses/<sequence>.txt`` beside ``sequences``. They are converted
    from camera 0 to the opened camera. Frames without a valid line have no pose.

    Raises:
        RecordingError, CalibrationError: a file is malformed, or a frame has no stamp.
    """
    names = [p.name for p in layouts.camera_folders(path, layouts.KITTI_ODOMETRY_CAMERAS)]
    name = choose_camera(path, names, topic, "image_2")
    files = image_files(path / name)
    size = _size_or_error(path / name, files)
    projection = _projection(path / "calib.txt", f"P{name[-1]}")
    model = resolve_camera(camera, size) or camera_from_projection(projection, size)
    check_size(model, size, path.name)
    stamps = _stamps(path / "times.txt", len(files), rate_hz)
    poses, note = _poses(path)
    T_camera_camera0 = se3.make(np.eye(3), np.linalg.solve(projection[:, :3], projection[:, 3]))
    indices = [int(f.stem) if f.stem.isdecimal() else i for i, f in enumerate(files)]
    if max(indices) >= len(stamps):
        raise RecordingError(f"'{path}': image {max(indices):06d} has no line in times.txt ({len(stamps)} lines)")
    T_camera0_camera = se3.inverse(T_camera_camera0)
    depth = path / f"depth_{name[-1]}"
    frames = [
        FrameFile(
            file,
            stamps[index],
            file.stem,
            depth / f"{file.stem}.png" if depth.is_dir() else None,
            poses[index] @ T_camera0_camera if index in poses else None,
        )
        for file, index in zip(files, indices, strict=True)
    ]
    rate = median_rate_hz(stamps)
    recording = FileRecording("kitti_odometry", f"kitti_{path.name}", frames, model, rate, layouts.KITTI_DEPTH)
    without = sum(frame.T_world_camera is None for frame in frames)
    if note or (poses and without):
        recording.note(note or f"{without} of the {len(frames)} frames have no line in the poses")
    if partner is not None:
        other = choose_partner(str(path), names, name, partner.name.strip("/"))
        other_files = image_files(path / other)
        other_size = _size_or_error(path / other, other_files)
        partner_projection = _projection(path / "calib.txt", f"P{other[-1]}")
        recorded = camera_from_projection(partner_projection, other_size)
        rig = make_rig(
            other,
            partner,
            camera,
            model,
            other_size,
            recorded,
            lambda *_: projection_offset(projection, partner_projection),
        )
        numbered = [(int(f.stem) if f.stem.isdecimal() else i, f) for i, f in enumerate(other_files)]
        listed = [(stamps[index], file) for index, file in numbered if index < len(stamps)]
        recording.add_partner(rig, paired_files([frame.stamp_ns for frame in frames], listed, rate))
    return recording


def _projection(file: Path, label: str) -> NDArray[np.float64]:
    numbers = tables.labelled(file).get(label, [])
    if len(numbers) != 12:
        raise RecordingError(f"{file} has no line '{label}:' with 12 numbers")
    return np.array(numbers).reshape(3, 4)


def camera_from_projection(projection: NDArray[np.float64], size: tuple[int, int]) -> CameraModel:
    """Return the pinhole camera of a rectified image from its 3x4 projection matrix (pixels) and (width, height)."""
    p = projection
    return CameraModel(*size, float(p[0, 0]), float(p[1, 1]), float(p[0, 2]), float(p[1, 2]))


def _size_or_error(folder: Path, files: Sequence[Path]) -> tuple[int, int]:
    size = first_size(files)
    if size is None:
        raise RecordingError(f"'{folder}' holds {len(files)} image files and none can be read{why_unreadable(files)}")
    return size


def _stamps(path: Path, count: int, rate_hz: float | None) -> list[int]:
    if rate_hz is not None or not path.is_file():
        period = 1e9 / (rate_hz or DEFAULT_RATE_HZ)
        first_unlisted = max((int(p.stem) for p in image_files(path.parent) if p.stem.isdecimal()), default=0)
        return [round(index * period) for index in range(max(count, first_unlisted + 1))]
    return [int(stamp) for stamp in read_times(path)]


def _poses(path: Path) -> tuple[dict[int, NDArray[np.float64]], str]:
    """Return the true poses by frame, and a note about invalid ones (else an empty string)."""
    for candidate in (path / "poses.txt", path.absolute().parents[1] / "poses" / f"{path.name}.txt"):
        if candidate.is_file():
            table, note = read_truth(candidate, "kitti")
            return ({} if table is None else dict(zip(table.keys.tolist(), table.poses, strict=True))), note
    return {}, ""


def open_kitti_raw(
    path: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None, partner: PartnerRequest | None = None
) -> FileRecording:
    """Open a raw drive (camera ``image_02`` unless named); ``_sync`` drives are rectified, ``_extract`` ones are not.

    Raises:
        RecordingError, CalibrationError: a file is missing or malformed.
    """
    names = [p.name for p in layouts.camera_folders(path, layouts.KITTI_RAW_CAMERAS)]
    name = choose_camera(path, names, topic, "image_02")
    files = image_files(layouts.kitti_raw_images(path, name[-2:]))
    size = _size_or_error(layouts.kitti_raw_images(path, name[-2:]), files)
    model = resolve_camera(camera, size)
    if model is None:
        model = _raw_camera(path, name[-2:], size)
    if model is not None:
        check_size(model, size, path.name)
    recorded = _raw_listing(path / name, files, None)
    rate = rate_hz or median_rate_hz([stamp for stamp, _ in recorded])
    listed = recorded if rate_hz is None else _raw_listing(path / name, files, rate_hz)
    frames = [FrameFile(file, stamp, file.stem) for stamp, file in listed]
    recording = FileRecording("kitti_raw", path.name, frames, model, rate)
    if len(listed) < len(files):
        recording.note(f"{len(files) - len(listed)} of the {len(files)} images have no stamp and are left out")
    if partner is not None:
        other = choose_partner(str(path), names, name, partner.name.strip("/"))
        other_files = image_files(layouts.kitti_raw_images(path, other[-2:]))
        other_size = _size_or_error(layouts.kitti_raw_images(path, other[-2:]), other_files)
        rig = make_rig(
            other,
            partner,
            camera,
            model,
            other_size,
            _raw_camera(path, other[-2:], other_size),
            lambda *models: _raw_extrinsics(path, name[-2:], other[-2:], *models),
        )
        common_rate = None if _has_stamps(path / name) and _has_stamps(path / other) else rate
        own_stamps = [stamp for stamp, _ in _raw_listing(path / name, [f for _, f in listed], common_rate)]
        pairs = paired_files(own_stamps, _raw_listing(path / other, other_files, common_rate), rate)
        recording.add_partner(
            rig,
            [  # paired by the recorded stamps, then stamped on the time base of the frames
                None if entry is None else (frame.stamp_ns + entry[0] - stamp, entry[1])
                for frame, stamp, entry in zip(frames, own_stamps, pairs, strict=True)
            ],
        )
    return recording


def _has_stamps(folder: Path) -> bool:
    return (folder / "timestamps.txt").is_file()


def _raw_listing(folder: Path, files: Sequence[Path], rate_hz: float | None) -> list[tuple[int, Path]]:
    """Return (stamp in ns, file), the stamp from ``timestamps.txt`` unless a rate is given or there is no such file.

    Line n belongs to frame n and is empty for a lost frame. If there are as many lines as images (a shortened drive),
    lines and images are matched in order. An image without a stamp is left out, since its time is unknown.
    """
    stamps = _raw_stamps(folder / "timestamps.txt") if rate_hz is None else []
    indices = [int(file.stem) if file.stem.isdecimal() else position for position, file in enumerate(files)]
    if not stamps:
        return [(round(index * 1e9 / (rate_hz or DEFAULT_RATE_HZ)), f) for index, f in zip(indices, files, strict=True)]
    if len(stamps) == len(files):
        indices = list(range(len(files)))
    if max(indices) >= len(stamps):
        raise RecordingError(
            f"{folder / 'timestamps.txt'} has {len(stamps)} lines for {len(files)} images up to number {max(indices)}"
        )
    stamped = [(stamps[index], file) for index, file in zip(indices, files, strict=True)]
    return [(stamp, file) for stamp, file in stamped if stamp is not None]


def _raw_extrinsics(
    path: Path, number: str, other: str, model: CameraModel, other_model: CameraModel
) -> NDArray[np.float64] | None:
    """Return T_partner_camera (4, 4), metres: from P_rect of a rectified drive, else from R and T (of camera 0)."""
    file = _raw_calibration(path)
    if file is None:
        return None
    lines = tables.labelled(file)
    if not path.name.endswith("_extract"):
        return projection_offset(_projection(file, f"P_rect_{number}"), _projection(file, f"P_rect_{other}"))
    placed = []
    for camera in (number, other):
        r, t = lines.get(f"R_{camera}", []), lines.get(f"T_{camera}", [])
        if len(r) != 9 or len(t) != 3:
            raise RecordingError(f"{file} has no lines R_{camera} (9 numbers) and T_{camera} (3 numbers)")
        placed.append(se3.make(np.reshape(r, (3, 3)), t))
    T_camera_first, T_partner_first = placed
    return between_rectified(T_partner_first @ se3.inverse(T_camera_first), model, other_model)


def _raw_calibration(path: Path) -> Path | None:
    candidates = [folder / "calib_cam_to_cam.txt" for folder in (path.parent, path)]
    return next((file for file in candidates if file.is_file()), None)


def _raw_camera(path: Path, number: str, size: tuple[int, int]) -> CameraModel | None:
    file = _raw_calibration(path)
    if file is None:
        return None
    lines = tables.labelled(file)
    if path.name.endswith("_extract"):
        k, d = lines.get(f"K_{number}", []), lines.get(f"D_{number}", [])
        if len(k) != 9 or len(d) != 5:
            raise RecordingError(f"{file} has no lines K_{number} (9 numbers) and D_{number} (5 numbers)")
        return CameraModel(*size, k[0], k[4], k[2], k[5], distortion_model="plumb_bob", distortion=tuple(d))
    return camera_from_projection(_projection(file, f"P_rect_{number}"), size)


def _raw_stamps(path: Path) -> list[int | None]:
    """Return the stamps (ns) of lines such as ``2011-09-26 13:02:25.594360375``, read as UTC; None for empty lines."""
    if not path.is_file():
        return []
    stamps: list[int | None] = []
    for line, text in tables.numbered(path):
        if not text:
            stamps.append(None)
            continue
        whole, _, fraction = text.partition(".")
        try:
            moment = datetime.datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.timezone.utc)
            stamps.append(int(moment.timestamp()) * 1_000_000_000 + int((fraction + "0" * 9)[:9]))
        except ValueError as error:
            raise RecordingError(f"{path}, line {line}: '{text}' is no date and time") from error
    return stamps
