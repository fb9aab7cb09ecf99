"""Plain folders of images: of one camera, or of several cameras whose names end the file names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.calibration.extrinsics import make_rig
from featdepth_ros.recordings.calibration.files import CameraArgument, resolve_camera
from featdepth_ros.recordings.calibration.stereo import AUTO, PartnerRequest, choose_partner
from featdepth_ros.recordings.files.images import (
    FileRecording,
    FrameFile,
    check_size,
    first_size,
    paired_files,
    why_unreadable,
)
from featdepth_ros.recordings.files.names import image_files, natural_key, stamps_in_names
from featdepth_ros.recordings.recording import DEFAULT_RATE_HZ, choose_camera, median_rate_hz

#: ``<stamp in ns>_<camera>``, with the number of digits of present-day stamps, which excludes counters.
_STAMPED = re.compile(r"(\d{18,19})_([A-Za-z0-9]+)")


def _frame_names(files: Sequence[Path]) -> list[str]:
    """Return the stems if they are unique; else the names with suffix; else with the folders in which they differ."""
    for names in ([file.stem for file in files], [file.name.replace(".", "_") for file in files]):
        if len(set(names)) == len(names):
            return names
    common = os.path.commonpath([file.absolute().parent for file in files])
    return [
        "_".join(file.absolute().relative_to(common).with_suffix("").parts) + f"_{file.suffix[1:]}" for file in files
    ]


def open_images(
    kind: str,
    name: str,
    files: Sequence[Path],
    camera: CameraArgument,
    rate_hz: float | None,
    partner: PartnerRequest | None = None,
) -> FileRecording:
    """Open image files as frames; a partner's images have the same names in another folder.

    The names are the stamps if all names are stamps and no rate is given, else frames are counted at the rate.

    Raises:
        RecordingError: no file can be read, or the partner does not exist.
        CalibrationError: the calibration does not fit, or the partner has none.
    """
    stamps = stamps_in_names(files) if rate_hz is None else None
    if stamps is None:
        rate = rate_hz or DEFAULT_RATE_HZ
        stamps = [round(index * 1e9 / rate) for index in range(len(files))]
    else:
        stamps, files = map(list, zip(*sorted(zip(stamps, files, strict=True)), strict=True))
        rate = median_rate_hz(stamps)
    _, model = _sized(name, files, camera)
    names = _frame_names(files)
    frames = [FrameFile(file, stamp, own) for stamp, file, own in zip(stamps, files, names, strict=True)]
    recording = FileRecording(kind, name, frames, model, rate)
    if partner is not None:
        other = _partner_folder(files[0].parent, partner.name)
        partner_files = {file.stem: file for file in image_files(other)}
        other_size = first_size(list(partner_files.values()))
        if other_size is None:
            raise RecordingError(f"partner folder '{other}' holds no readable image")
        rig = make_rig(other.name, partner, camera, model, other_size, None, lambda *_: None)
        pairs = [
            (frame.stamp_ns, partner_files[file.stem]) if file.stem in partner_files else None
            for frame, file in zip(frames, files, strict=True)
        ]
        recording.add_partner(rig, pairs, "of the same name")
    return recording


def _partner_folder(folder: Path, wanted: str) -> Path:
    for candidate in (Path(wanted).expanduser(), folder.parent / wanted):
        if wanted != AUTO and candidate.is_dir():
            if candidate.resolve() == folder.resolve():
                raise RecordingError(f"partner folder '{wanted}' is the folder of the camera itself")
            return candidate
    beside = sorted(p.name for p in folder.absolute().parent.iterdir() if p.is_dir())
    return folder.absolute().parent / choose_partner(str(folder.parent), beside, folder.absolute().name, wanted)


def is_suffixed(files: Sequence[Path]) -> bool:
    """Return whether all files are named ``<stamp_ns>_<camera>`` and belong to two or more cameras."""
    matches = [_STAMPED.fullmatch(file.stem) for file in files]
    return all(matches) and len({match[2] for match in matches if match}) > 1


def open_suffixed(
    path: Path,
    files: Sequence[Path],
    topic: str | None,
    camera: CameraArgument,
    rate_hz: float | None,
    partner: PartnerRequest | None,
) -> FileRecording:
    """Open a folder of ``<stamp_ns>_<camera>.jpg``: the first camera unless ``topic`` names another one.

    Stamps come from the names (a given rate changes only the nominal rate). Such a folder has no calibration.

    Raises:
        RecordingError, CalibrationError: the camera does not exist, or its images or calibrations do not fit.
    """
    cameras: dict[str, list[tuple[int, Path]]] = {}
    for file in sorted(files, key=natural_key):
        match = _STAMPED.fullmatch(file.stem)
        if match is not None:
            cameras.setdefault(match[2], []).append((int(match[1]), file))
    names = sorted(cameras)
    chosen = choose_camera(path, names, topic, names[0])
    images = cameras[chosen]
    _, model = _sized(path.name, [file for _, file in images], camera)
    rate = rate_hz or median_rate_hz([stamp for stamp, _ in images])
    frames = [FrameFile(file, stamp, file.stem) for stamp, file in images]
    recording = FileRecording("images", path.name, frames, model, rate)
    if partner is None:
        recording.note(f"the folder has the cameras {', '.join(names)}; the images of camera {chosen} are read")
        return recording
    if partner.name == AUTO and len(names) == 2:
        partner = PartnerRequest(next(name for name in names if name != chosen), partner.camera)
    other = choose_partner(str(path), names, chosen, partner.name)
    size = first_size([file for _, file in cameras[other]])
    rig = make_rig(other, partner, camera, model, size, None, lambda *_: None)
    recording.add_partner(rig, paired_files([stamp for stamp, _ in images], cameras[other], rate))
    return recording


def _sized(name: str, files: Sequence[Path], camera: CameraArgument) -> tuple[tuple[int, int], CameraModel | None]:
    size = first_size(files)
    if size is None:
        raise RecordingError(f"none of the {len(files)} image files of '{name}' can be read{why_unreadable(files)}")
    model = resolve_camera(camera, size)
    if model is not None:
        check_size(model, size, name)
    return size, model
