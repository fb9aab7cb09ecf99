"""Published split files of KITTI: lists of frames for training, validation and test.

A line is ``<drive> <frame> l|r`` of the raw data (the drive below its date: ``2011_09_26/2011_09_26_drive_0001_sync``)
or ``<sequence> <frame> l|r`` of the odometry sequences. A line names a target frame; its neighbours are kept, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from featdepth_ros.errors import ConfigError
from featdepth_training.prepare.inputs import Input

#: Camera folders of each side in order of preference: raw data, odometry sequences (colour before grey).
RAW_CAMERAS: dict[str, tuple[str, ...]] = {"l": ("image_02",), "r": ("image_03",)}
ODOMETRY_CAMERAS: dict[str, tuple[str, ...]] = {"l": ("image_2", "image_0"), "r": ("image_3", "image_1")}


def read_split(path: Path) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the sorted, unique frame numbers by (drive, side).

    Raises:
        ConfigError: the file cannot be read, is empty, or has a line of another form.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the split {path} cannot be read: {error}") from error
    frames: dict[tuple[str, str], set[int]] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        side = words[2] if len(words) > 2 else "l"
        if len(words) not in (2, 3) or not words[1].isdecimal() or side not in RAW_CAMERAS:
            raise ConfigError(f"{path}, line {number} is '{line.strip()}'; expected '<drive> <frame> l|r'")
        frames.setdefault((words[0], side), set()).add(int(words[1]))
    if not frames:
        raise ConfigError(f"the split {path} names no frame; expected lines '<drive> <frame> l|r'")
    return {key: tuple(sorted(numbers)) for key, numbers in frames.items()}


def inputs_of_split(given: Input, frames: dict[tuple[str, str], tuple[int, ...]]) -> list[Input]:
    """Return an input for each drive and side of a split.

    Args:
        given: settings common to all; its ``path`` is the folder of the dataset.
        frames: see `read_split`.
    """
    inputs = []
    for (drive, side), numbers in frames.items():
        folder, cameras = _found(Path(given.path), drive), RAW_CAMERAS
        if not (folder / "image_02").is_dir() and not (folder / "image_03").is_dir():
            cameras = ODOMETRY_CAMERAS
        topic = _first(folder, cameras[side])
        inputs.append(
            replace(
                given,
                path=str(folder),
                topic=topic,
                config=replace(given.config, listed=numbers),
                below=True,
                name=f"{folder.name}_{topic.removeprefix('image_')}",
            )
        )
    return inputs


def _found(root: Path, drive: str) -> Path:
    """Return the folder of a drive, or its likeliest path if there is none; opening that names what is missing."""
    padded = f"{int(drive):02d}" if drive.isdecimal() else drive
    places = (root / drive, root / padded, root / "sequences" / padded, root / Path(drive).name)
    return next((place for place in places if place.is_dir()), places[0])


def _first(folder: Path, cameras: Iterable[str]) -> str:
    names = list(cameras)
    return next((name for name in names if (folder / name).is_dir()), names[0])
