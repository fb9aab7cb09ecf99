"""Reads a text file with one image path per line, such as a published list of test images."""

from __future__ import annotations

import re
from pathlib import Path

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.calibration.files import CameraArgument
from featdepth_ros.recordings.files.folders import open_images
from featdepth_ros.recordings.files.images import FileRecording
from featdepth_ros.recordings.files.names import IMAGE_SUFFIXES

LIST_SUFFIXES = (".txt", ".lst")
#: A line of a KITTI split file, which names a drive and a frame instead of an image.
_OF_SPLIT = re.compile(r"\S+\s+\d+(\s+[lr])?")


def is_list(path: Path) -> bool:
    """Return whether a file may be a list of images: by its suffix, and its first line that is no comment."""
    if path.suffix.lower() not in LIST_SUFFIXES or not path.is_file():
        return False
    try:
        lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError):
        return False
    first = next((line for line in lines if line and not line.startswith("#")), "")
    words = [first, *first.split()[:1]]
    return bool(_OF_SPLIT.fullmatch(first)) or any(Path(word).suffix.lower() in IMAGE_SUFFIXES for word in words)


def open_list(path: Path, camera: CameraArgument, rate_hz: float | None) -> FileRecording:
    """Open the images of a list in its order; paths are relative to the folder of the list.

    Empty lines and lines that begin with ``#`` are left out. If image names are not unique, the folders become part of
    the frames' names.

    Raises:
        RecordingError: the list is empty, or an image is missing; the message says which.
        CalibrationError: ``camera`` does not fit.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(f"the list {path} cannot be read: {error}") from error
    names = [line for line in lines if line and not line.startswith("#")]
    files = [_file(path, name) for name in names]
    if not files:
        raise RecordingError(f"the list {path} is empty; expected one image path per line")
    missing = [name for name, file in zip(names, files, strict=True) if not file.is_file()]
    if missing:
        raise RecordingError(
            f"{len(missing)} of the {len(names)} images in {path} do not exist, the first: '{missing[0]}' "
            f"(below {path.absolute().parent}); frames of a split of KITTI ('<drive> <frame> l') are read by featdepth "
            "eval depth --split and featdepth prepare --split"
        )
    return open_images("images", path.stem, files, camera, rate_hz)


def _file(path: Path, name: str) -> Path:
    """Return the image of a line; further words (depth file, focal length) are ignored if the first is an image."""
    whole, first = path.parent / name, path.parent / name.split()[0]
    return first if not whole.is_file() and first.is_file() else whole
