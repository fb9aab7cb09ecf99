"""ETH3D's SLAM recordings: TUM's layout with calibrations, a second colour camera and the pose between the two.

``calibration.txt`` and ``calibration2.txt`` are lines of fx fy cx cy; images are free of distortion. The 3x4 matrix of
``extrinsics_1_2.txt`` maps points of camera 2 to camera 1. Images of ``rgb2`` have the names of those of ``rgb``.
``groundtruth.txt`` is the pose of camera 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.calibration.extrinsics import make_rig, rigid_motion
from featdepth_ros.recordings.calibration.files import CameraArgument, resolve_camera
from featdepth_ros.recordings.calibration.stereo import PartnerRequest, choose_partner
from featdepth_ros.recordings.datasets import layouts, tables
from featdepth_ros.recordings.datasets.pose_files import read_truth
from featdepth_ros.recordings.datasets.poses import interpolate
from featdepth_ros.recordings.datasets.rgbd import BRIDGED_NS, nearest_depth
from featdepth_ros.recordings.files.images import FileRecording, FrameFile, check_size, first_size, paired_files
from featdepth_ros.recordings.recording import choose_camera, median_rate_hz

CALIBRATIONS = {"rgb": "calibration.txt", "rgb2": "calibration2.txt"}
EXTRINSICS = "extrinsics_1_2.txt"


def is_eth3d(path: Path) -> bool:
    """Return whether a folder is a SLAM recording of ETH3D: TUM's ``rgb.txt`` beside ``calibration.txt``."""
    return all((path / name).is_file() for name in ("rgb.txt", CALIBRATIONS["rgb"])) and (path / "rgb").is_dir()


def open_eth3d(
    path: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None, partner: PartnerRequest | None = None
) -> FileRecording:
    """Open one colour camera (``rgb`` unless ``rgb2`` is named); the other one can be its stereo partner.

    Depth (5000 = 1 m, within 20 ms) is that of camera 1 alone.

    Raises:
        RecordingError, CalibrationError: a file is missing or malformed, or no image can be read.
    """
    names = [name for name in CALIBRATIONS if (path / name).is_dir()]
    name = choose_camera(path, names, topic, "rgb")
    colour = _listed(path, name)
    size = first_size([file for _, file in colour])
    if size is None:
        raise RecordingError(f"none of the {len(colour)} images of {name} in '{path}' can be read")
    model = resolve_camera(camera, size) or _camera(path, name, size)
    check_size(model, size, path.name)
    depth = layouts.tum_images(path, "depth") if name == "rgb" and (path / "depth.txt").is_file() else []
    stamps, poses, note = _truth(path, name)
    frames = [
        FrameFile(file, stamp, file.stem, nearest_depth(depth, stamp), interpolate(stamps, poses, stamp, BRIDGED_NS))
        for stamp, file in colour
    ]
    rate = rate_hz or median_rate_hz([stamp for stamp, _ in colour])
    recording = FileRecording("eth3d", path.name, frames, model, rate, layouts.TUM_DEPTH)
    if note:
        recording.note(note)
    if partner is not None:
        other = choose_partner(str(path), names, name, _named(partner.name, name))
        listed = _listed(path, other)
        other_size = first_size([file for _, file in listed]) or size
        T_rgb_rgb2 = _extrinsics(path)
        T_partner_camera = se3.inverse(T_rgb_rgb2) if name == "rgb" else T_rgb_rgb2
        rig = make_rig(
            other, partner, camera, model, other_size, _camera(path, other, other_size), lambda *_: T_partner_camera
        )
        recording.add_partner(rig, paired_files([stamp for stamp, _ in colour], listed, rate))
    return recording


def _named(wanted: str, name: str) -> str:
    """Return the name of the partner; ``auto`` is the other of the two cameras."""
    other = next(camera for camera in CALIBRATIONS if camera != name)
    return other if wanted == "auto" else wanted.strip("/")


def _listed(path: Path, name: str) -> list[tuple[int, Path]]:
    """Return (stamp in ns, file) of a camera's images, by its own list or by that of ``rgb`` with the same names."""
    if (path / f"{name}.txt").is_file():
        return layouts.tum_images(path, name)
    shared = [(stamp, path / name / file.name) for stamp, file in layouts.tum_images(path, "rgb")]
    there = [(stamp, file) for stamp, file in shared if file.is_file()]
    if not there:
        raise RecordingError(f"'{path / name}' holds none of the {len(shared)} images that rgb.txt names")
    return there


def _numbers(file: Path, count: int) -> list[float]:
    if not file.is_file():
        raise RecordingError(f"there is no {file}; expected a file with {count} numbers")
    values = [value for line, words in tables.rows(file) for value in tables.numbers(file, line, words, len(words))]
    if len(values) != count:
        raise RecordingError(f"{file} holds {len(values)} numbers; expected {count}")
    return values


def _camera(path: Path, name: str, size: tuple[int, int]) -> CameraModel:
    fx, fy, cx, cy = _numbers(path / CALIBRATIONS[name], 4)
    return CameraModel(*size, fx, fy, cx, cy)


def _extrinsics(path: Path) -> NDArray[np.float64]:
    """Return T_rgb_rgb2 (4, 4), metres."""
    matrix = [*_numbers(path / EXTRINSICS, 12), 0.0, 0.0, 0.0, 1.0]
    return rigid_motion(matrix, str(path / EXTRINSICS))


def _truth(path: Path, name: str) -> tuple[list[int], list[NDArray[np.float64]], str]:
    file = path / "groundtruth.txt"
    table, note = read_truth(file, "tum") if file.is_file() else (None, "")
    if table is None:
        return [], [], note
    stamps, poses = table.ascending()
    if name == "rgb2":
        poses = [pose @ _extrinsics(path) for pose in poses]
    return stamps, poses, note
