"""The plain text tables of data sets: numbers, stamps, poses. Errors name the file and the line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry import se3_numpy as se3


def rows(path: Path, separator: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of every line that is neither empty nor a ``#`` comment.

    Raises:
        RecordingError: the file cannot be read as text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield number, [field.strip() for field in text.split(separator)]


def numbers(path: Path, line: int, fields: list[str], expected: int) -> list[float]:
    """Return the first ``expected`` fields as finite numbers.

    Raises:
        RecordingError: too few, or no numbers.
    """
    try:
        values = [float(field) for field in fields[:expected]]
    except ValueError as error:
        raise RecordingError(f"{path}, line {line}: {error}") from error
    if len(values) < expected or not all(math.isfinite(value) for value in values):
        raise RecordingError(f"{path}, line {line}: expected {expected} finite numbers, found {len(values)}: {fields}")
    return values


def seconds_to_ns(text: str, path: Path, line: int) -> int:
    """Return decimal seconds as nanoseconds, exactly (a double would lose digits of an epoch).

    Raises:
        RecordingError: no number.
    """
    try:
        return round(Decimal(text) * 1_000_000_000)
    except (InvalidOperation, ValueError) as error:
        raise RecordingError(f"{path}, line {line}: '{text}' is no time in seconds") from error


def labelled(path: Path) -> dict[str, list[float]]:
    """Return KITTI's ``NAME: numbers`` calibration lines; lines with other content are left out."""
    result: dict[str, list[float]] = {}
    for _, fields in rows(path):
        try:
            result[fields[0].rstrip(":")] = [float(value) for value in fields[1:]]
        except ValueError:
            continue
    return result


def _pose(path: Path, line: int, position: Sequence[float], xyzw: Sequence[float]) -> NDArray[np.float64]:
    try:
        return se3.from_quaternion(position, xyzw)
    except ValueError as error:
        raise RecordingError(f"{path}, line {line}: {error}") from error


def kitti_poses(path: Path) -> list[NDArray[np.float64]]:
    """Return the (4, 4) poses of a KITTI file, 12 numbers a line.

    Raises:
        RecordingError: a line does not hold 12 finite numbers.
    """
    poses = []
    for line, fields in rows(path):
        matrix = np.array(numbers(path, line, fields, 12)).reshape(3, 4)
        poses.append(se3.make(matrix[:, :3], matrix[:, 3]))
    return poses


def tum_poses(path: Path) -> tuple[list[int], list[NDArray[np.float64]]]:
    """Return stamps (ns) and (4, 4) poses of a TUM file: ``seconds tx ty tz qx qy qz qw``, ascending.

    Raises:
        RecordingError: a line is malformed.
    """
    entries = []
    for line, fields in rows(path):
        stamp = seconds_to_ns(fields[0], path, line)
        x, y, z, qx, qy, qz, qw = numbers(path, line, fields[1:], 7)
        entries.append((stamp, _pose(path, line, (x, y, z), (qx, qy, qz, qw))))
    entries.sort(key=lambda entry: entry[0])
    return [stamp for stamp, _ in entries], [pose for _, pose in entries]


def euroc_poses(path: Path) -> tuple[list[int], list[NDArray[np.float64]]]:
    """Return stamps (ns) and (4, 4) body poses of an EuRoC state table: ``ns,x,y,z,qw,qx,qy,qz,...``, ascending.

    Raises:
        RecordingError: a line is malformed.
    """
    entries = []
    for line, fields in rows(path, ","):
        if not fields[0].isdigit():
            raise RecordingError(f"{path}, line {line}: '{fields[0]}' is no stamp in nanoseconds")
        x, y, z, qw, qx, qy, qz = numbers(path, line, fields[1:], 7)
        entries.append((int(fields[0]), _pose(path, line, (x, y, z), (qx, qy, qz, qw))))
    entries.sort(key=lambda entry: entry[0])
    return [stamp for stamp, _ in entries], [pose for _, pose in entries]
