"""Cityscapes: the folder of one city, of single images or of the 30-frame snippets, with its right camera.

The data set's scripts describe the layout: ``<kind>/<split>/<city>/<city>_<sequence>_<frame>_<kind>.png``. The kind is
``leftImg8bit`` or ``rightImg8bit`` and the top folder of snippets ends in ``_sequence``. ``camera/<split>/<city>``
holds ``..._camera.json``, ``timestamp_sequence`` nanoseconds.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError, RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.calibration.extrinsics import make_rig
from featdepth_ros.recordings.calibration.files import CameraArgument, resolve_camera
from featdepth_ros.recordings.calibration.stereo import PartnerRequest, choose_partner
from featdepth_ros.recordings.files.images import FileRecording, FrameFile, check_size, first_size, paired_files
from featdepth_ros.recordings.recording import choose_camera

KINDS = ("leftImg8bit", "rightImg8bit")
#: Rate of the snippets in frames per second, and the image size (width, height) to which ``camera.json`` refers.
RATE_HZ, FULL_SIZE = 17.0, (2048, 1024)
#: Distance of the frame counts of two sequences of a city, frames.
_BETWEEN_SEQUENCES = 1_000_000
_NAME = re.compile(r"(?P<stem>(?P<city>.+)_(?P<sequence>\d{6})_(?P<frame>\d{6}))_(?P<kind>leftImg8bit|rightImg8bit)")


def is_cityscapes(path: Path) -> bool:
    """Return whether a folder holds the images of a city."""
    return any(next(path.glob(f"*_{kind}.*"), None) is not None for kind in KINDS)


def open_cityscapes(
    path: Path, topic: str | None, camera: CameraArgument, rate_hz: float | None, partner: PartnerRequest | None = None
) -> FileRecording:
    """Open the folder of a city; ``topic`` names another camera than the one whose folder it is.

    Stamps are those of ``timestamp_sequence`` if it exists, else frames are counted at 17 Hz. Snippets get stamps
    seconds apart, so that no clip spans two of them.

    Raises:
        RecordingError, CalibrationError: no image can be read, or ``camera.json`` is malformed.
    """
    own = next(kind for kind in KINDS if next(path.glob(f"*_{kind}.*"), None) is not None)
    names = [kind for kind in KINDS if _folder(path, own, kind).is_dir()]
    name = choose_camera(path, names, topic, own)
    images = _images(_folder(path, own, name), name)
    size = first_size([file for _, file in images])
    if size is None:
        raise RecordingError(f"none of the {len(images)} images of {name} in '{path}' can be read")
    calibration, note = _calibration(path)
    recorded = None if calibration is None else _camera(calibration, size)
    model = resolve_camera(camera, size) or recorded
    if model is not None:
        check_size(model, size, path.name)
    rate = rate_hz or RATE_HZ
    stamps = [_stamp(path, file, rate, given=rate_hz is not None) for _, file in images]
    order = np.argsort(stamps, kind="stable")
    frames = [FrameFile(images[k][1], stamps[k], images[k][0]) for k in order]
    recording = FileRecording("cityscapes", path.name, frames, model, rate)
    if note:
        recording.note(note)
    if partner is not None:
        other = choose_partner(str(path), names, name, partner.name.strip("/"))
        others = dict(_images(_folder(path, own, other), other))
        other_size = first_size(list(others.values())) or size
        sign = -1.0 if other == KINDS[1] else 1.0
        rig = make_rig(
            other, partner, camera, model, other_size,
            None if calibration is None else _camera(calibration, other_size),
            lambda *_: None if calibration is None else _offset(calibration, sign),
        )  # fmt: skip
        listed = [(frame.stamp_ns, others[frame.name]) for frame in frames if frame.name in others]
        recording.add_partner(rig, paired_files([frame.stamp_ns for frame in frames], listed, rate))
    return recording


def _folder(path: Path, own: str, kind: str) -> Path:
    """Return the folder of another camera (or of calibrations): the same path under another top folder."""
    top = path.absolute().parents[1]
    return top.with_name(top.name.replace(own, kind)) / path.absolute().parent.name / path.absolute().name


def _images(folder: Path, kind: str) -> list[tuple[str, Path]]:
    named = ((_NAME.fullmatch(file.stem), file) for file in sorted(folder.glob(f"*_{kind}.*")))
    return [(match["stem"], file) for match, file in named if match is not None]


def _stamp(path: Path, image: Path, rate_hz: float, given: bool) -> int:
    match = _NAME.fullmatch(image.stem)
    assert match is not None
    file = path.absolute().parents[2] / "timestamp_sequence" / path.absolute().parent.name / path.name
    file = file / f"{match['stem']}_timestamp.txt"
    if not given and file.is_file():
        text = file.read_text(encoding="utf-8").strip()
        if not text.isdecimal():
            raise RecordingError(f"{file} holds '{text}'; expected nanoseconds")
        return int(text)
    return round((int(match["sequence"]) * _BETWEEN_SEQUENCES + int(match["frame"])) * 1e9 / rate_hz)


def _calibration(path: Path) -> tuple[dict[str, Any] | None, str]:
    """Return the calibration of the city, and a note if its files differ (else an empty string)."""
    folder = path.absolute().parents[2] / "camera" / path.absolute().parent.name / path.name
    files = sorted(folder.glob("*_camera.json"))
    contents = [_read(file) for file in files]
    if not contents:
        return None, ""
    different = sum(content != contents[0] for content in contents)
    note = f"{different} of the {len(files)} camera.json differ from the first, which is used" if different else ""
    return contents[0], note


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        numbers = [content["intrinsic"][key] for key in ("fx", "fy", "u0", "v0")] + [content["extrinsic"]["baseline"]]
        if not all(isinstance(value, (int, float)) for value in numbers):
            raise ValueError(f"numbers expected, found {numbers}")
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise CalibrationError(
            f"{file} is no calibration of Cityscapes (intrinsic fx fy u0 v0, extrinsic baseline): {error!r}"
        ) from error
    return dict(content)


def _camera(calibration: dict[str, Any], size: tuple[int, int]) -> CameraModel:
    """Return the pinhole camera, scaled to images of this (width, height)."""
    k = calibration["intrinsic"]
    sx, sy = size[0] / FULL_SIZE[0], size[1] / FULL_SIZE[1]
    centre = (k["u0"] + 0.5) * sx - 0.5, (k["v0"] + 0.5) * sy - 0.5
    return CameraModel(*size, k["fx"] * sx, k["fy"] * sy, *centre)


def _offset(calibration: dict[str, Any], sign: float) -> NDArray[np.float64]:
    motion = np.eye(4)
    motion[0, 3] = sign * float(calibration["extrinsic"]["baseline"])
    return motion
