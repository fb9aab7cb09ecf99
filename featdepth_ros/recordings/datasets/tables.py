"""The plain text tables of data sets: rows, numbers, stamps. Errors name the file and the line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

from featdepth_ros.errors import RecordingError

#: Units of stamps, in nanoseconds.
SECOND_NS, NANOSECOND = Decimal(1_000_000_000), Decimal(1)
_UNITS = {SECOND_NS: "seconds", NANOSECOND: "nanoseconds"}


def rows(path: Path, separator: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of every line that is neither empty nor a ``#`` comment.

    Raises:
        RecordingError: the file cannot be read as text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
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


def parse_stamp_ns(text: str, path: Path, line: int, unit: Decimal = SECOND_NS) -> int:
    """Return a decimal stamp as the nearest nanosecond.

    Exact, because a double of seconds since 1970 is only good to 0.2 us. The nearest, because 0.3 is often written as
    0.29999999999999999.

    Args:
        text: the number.
        path: the file, for messages.
        line: its line, for messages.
        unit: nanoseconds of one unit of the number; a second by default.

    Raises:
        RecordingError: no number, or too large for 64 bits of nanoseconds.
    """
    try:
        stamp = round(Decimal(text) * unit)
    except (InvalidOperation, ValueError, OverflowError):
        stamp = None
    if stamp is None or abs(stamp) >= 2**63:
        raise RecordingError(f"{path}, line {line}: '{text}' is no stamp; expected a number of {_UNITS[unit]}")
    return stamp


def seconds_text(stamp_ns: int) -> str:
    """Return nanoseconds (not negative) as decimal seconds with nine digits; `parse_stamp_ns` gives them back."""
    return f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}"


def labelled(path: Path) -> dict[str, list[float]]:
    """Return KITTI's ``NAME: numbers`` calibration lines; lines with other content are left out."""
    result: dict[str, list[float]] = {}
    for _, fields in rows(path):
        try:
            result[fields[0].rstrip(":")] = [float(value) for value in fields[1:]]
        except ValueError:
            continue
    return result
