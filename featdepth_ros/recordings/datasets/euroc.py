"""EuRoC folders (ASL layout): ``mav0/cam0/{sensor.yaml,data.csv,data/}``, stamps in nanoseconds, poses of the body."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.calibration.extrinsics import extrinsics_of_files, make_rig
from featdepth_ros.recordings.calibration.files import CameraArgument, parse_camera, resolve_camera
from featdepth_ros.recordings.calibration.stereo import PartnerRequest, Rig, choose_partner
from featdepth_ros.recordings.calibration.texts import load_mapping
from featdepth_ros.recordings.datasets import tables
from featdepth_ros.recordings.datasets.pose_files import read_truth
from featdepth_ros.recordings.datasets.poses import interpolate
from featdepth_ros.recordings.files.images import (
    FileRecording,
    FrameFile,
    check_size,
    first_size,
    paired_files,
    why_unreadable,
)
from featdepth_ros.recordings.recording import DEFAULT_RATE_HZ, choose_camera, median_rate_hz

#: Longest gap (ns) in the ground truth that is bridged by interpolation; its rate is 200 Hz.
_BRIDGED_NS = 100_000_000


def euroc_root(path: Path) -> Path | None:
    """Return the folder that holds ``cam0``: ``path`` itself or its ``mav0``; None if neither does."""
    for folder in (path / "mav0", path):
        if any((camera / "data.csv").is_file() for camera in folder.glob("cam*")):
            return folder
    return None


def open_euroc(
    root: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None, partner: PartnerRequest | None = None
) -> FileRecording:
    """Open one camera (``cam0`` unless named) of an ASL folder; poses from ``state_groundtruth_estimate0`` when there.

    The partner's pose comes from the ``T_BS`` of both ``sensor.yaml``.

    Raises:
        RecordingError, CalibrationError: a file is malformed, or no listed image exists.
    """
    names = sorted(p.name for p in root.glob("cam*") if (p / "data.csv").is_file())
    folder = root / choose_camera(root, names, topic, "cam0")
    images, missing = _listed(folder)
    size = _size(folder, images)
    model = resolve_camera(camera, size)
    sensor = folder / "sensor.yaml"
    if model is None and sensor.is_file():
        model = parse_camera(str(sensor), size)
    if model is not None:
        check_size(model, size, folder.name)
    stamps, poses, note = _truth(root, sensor)
    frames = [
        FrameFile(file, stamp, file.stem, None, interpolate(stamps, poses, stamp, _BRIDGED_NS))
        for stamp, file in images
    ]
    rate = rate_hz or (median_rate_hz([stamp for stamp, _ in images]) if len(images) > 1 else DEFAULT_RATE_HZ)
    name = root.parent.name if root.name == "mav0" else root.name
    recording = FileRecording("euroc", f"{name}_{folder.name}", frames, model, rate)
    recording.folder = folder
    if note:
        recording.note(note)
    if missing:
        recording.note(f"{missing} of the {len(images) + missing} images listed in data.csv are missing")
    if partner is not None:
        other = root / choose_partner(str(root), names, folder.name, partner.name.strip("/"))
        partner_images, _ = _listed(other)
        rig = _rig(folder, other, partner, camera, model, _size(other, partner_images))
        recording.add_partner(rig, paired_files([stamp for stamp, _ in images], partner_images, rate))
    return recording


def _rig(
    folder: Path,
    other: Path,
    partner: PartnerRequest,
    camera: CameraArgument,
    model: CameraModel | None,
    size: tuple[int, int],
) -> Rig:
    sensor, partner_sensor = (str(path / "sensor.yaml") for path in (folder, other))
    recorded = parse_camera(partner_sensor, size) if Path(partner_sensor).is_file() else None

    def extrinsics(camera_model: CameraModel, partner_model: CameraModel) -> NDArray[np.float64] | None:
        return extrinsics_of_files(sensor, partner_sensor, camera_model, partner_model)

    return make_rig(other.name, partner, camera, model, size, recorded, extrinsics)


def _listed(folder: Path) -> tuple[list[tuple[int, Path]], int]:
    """Return (stamp in ns, file) of the listed images that exist, and the number of those that do not."""
    listed: list[tuple[int, Path]] = []
    for line, fields in tables.rows(folder / "data.csv", ","):
        if len(fields) < 2 or not fields[0].isdecimal():
            if not listed and fields[0][:1].isalpha():
                continue  # a heading without '#'
            raise RecordingError(f"{folder / 'data.csv'}, line {line}: expected 'stamp_ns,file', found {fields}")
        listed.append((int(fields[0]), folder / "data" / fields[1]))
    listed.sort()
    images = [(stamp, file) for stamp, file in listed if file.is_file()]
    if not images:
        raise RecordingError(f"none of the {len(listed)} images listed in {folder / 'data.csv'} exists")
    return images, len(listed) - len(images)


def _size(folder: Path, images: list[tuple[int, Path]]) -> tuple[int, int]:
    files = [file for _, file in images]
    size = first_size(files)
    if size is None:
        raise RecordingError(
            f"none of the {len(images)} images in '{folder / 'data'}' can be read{why_unreadable(files)}"
        )
    return size


def _truth(root: Path, sensor: Path) -> tuple[list[int], list[NDArray[np.float64]], str]:
    file = root / "state_groundtruth_estimate0" / "data.csv"
    if not file.is_file():
        return [], [], ""
    table, note = read_truth(file, "euroc")
    if table is None:
        return [], [], note
    stamps, body_poses = table.ascending()
    T_body_camera = sensor_extrinsics(sensor) if sensor.is_file() else np.eye(4)
    return stamps, [pose @ T_body_camera for pose in body_poses], note


def sensor_extrinsics(sensor: Path) -> NDArray[np.float64]:
    """Return the (4, 4) ``T_BS`` of a ``sensor.yaml``: it maps the sensor's coordinates to the body's.

    Raises:
        CalibrationError, RecordingError: the file is no YAML, or its ``T_BS`` has no 16 numbers.
    """
    content: dict[str, Any] = load_mapping(sensor)
    try:
        return np.array(content["T_BS"]["data"], dtype=np.float64).reshape(4, 4)
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise RecordingError(f"{sensor} has no T_BS with 16 numbers under 'data': {error}") from error
