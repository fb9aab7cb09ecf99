"""Reads the text tables of datasets: rows, numbers, stamps. Errors name the file and the line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from featdepth_ros.errors import RecordingError

#: Units of stamps, in nanoseconds.
SECOND_NS, MILLISECOND_NS, MICROSECOND_NS = Decimal(10**9), Decimal(10**6), Decimal(10**3)
NANOSECOND = Decimal(1)
_UNITS = {
    SECOND_NS: "seconds",
    MILLISECOND_NS: "milliseconds",
    MICROSECOND_NS: "microseconds",
    NANOSECOND: "nanoseconds",
}
#: Smallest present-day stamp in each unit, by which the unit is detected.
_UNIT_FROM = ((Decimal(10) ** 17, NANOSECOND), (Decimal(10) ** 14, MICROSECOND_NS), (Decimal(10) ** 11, MILLISECOND_NS))


def lines(path: Path) -> list[str]:
    """Return all lines of a text file without surrounding spaces, including empty lines and comments.

    Raises:
        RecordingError: the file cannot be read as text.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path} cannot be read: {error}") from error


def rows(path: Path, separator: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of every line that is neither empty nor a ``#`` comment.

    Raises:
        RecordingError: the file cannot be read as text.
    """
    for number, text in enumerate(lines(path), start=1):
        if text and not text.startswith("#"):
            yield number, [field.strip() for field in text.split(separator)]


def numbered(path: Path) -> list[tuple[int, str]]:
    """Return (line number, text) of a table whose n-th entry belongs to frame n. Empty lines in between count.

    Comments do not count, nor do empty lines before the first and after the last entry.
    """
    entries = [(number, text) for number, text in enumerate(lines(path), start=1) if not text.startswith("#")]
    while entries and not entries[-1][1]:
        entries.pop()
    while entries and not entries[0][1]:
        entries.pop(0)
    return entries


def stamp_unit(stamps: Sequence[str]) -> Decimal:
    """Return the unit of a column of stamps, in nanoseconds, by the size of its numbers; seconds for small ones.

    Seconds since 1970 have 10 digits today, milliseconds 13, microseconds 16, nanoseconds 19.
    """
    largest = Decimal(0)
    for text in stamps:
        try:
            value = Decimal(text).copy_abs()
        except InvalidOperation:
            continue
        if value.is_finite():
            largest = max(largest, value)
    return next((unit for least, unit in _UNIT_FROM if largest >= least), SECOND_NS)


def numbers(path: Path, line: int, fields: list[str], expected: int) -> list[float]:
    """Return the first ``expected`` fields as finite numbers.

    Raises:
        RecordingError: there are too few fields, or one is no finite number.
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

    The conversion is exact, because a double of seconds since 1970 has a resolution of only 0.2 us. It rounds to the
    nearest, because 0.3 is often written as 0.29999999999999999.

    Args:
        text: the number.
        path: the file, for messages.
        line: its line, for messages.
        unit: nanoseconds of one unit of the number; a second by default.

    Raises:
        RecordingError: the text is no number, or does not fit into 64 bits of nanoseconds.
    """
    try:
        stamp = round(Decimal(text) * unit)
    except (ArithmeticError, ValueError):  # decimal's Overflow and Python's are both arithmetic errors
        stamp = None
    if stamp is None or abs(stamp) >= 2**63:
        raise RecordingError(f"{path}, line {line}: '{text}' is not a stamp; expected a number of {_UNITS[unit]}")
    return stamp


def seconds_text(stamp_ns: int) -> str:
    """Return nanoseconds (not negative) as decimal seconds with nine digits; `parse_stamp_ns` is the inverse."""
    return f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}"


def labelled(path: Path) -> dict[str, list[float]]:
    """Return KITTI's calibration lines ``NAME: numbers`` as a mapping; other lines are left out."""
    result: dict[str, list[float]] = {}
    for _, fields in rows(path):
        try:
            result[fields[0].rstrip(":")] = [float(value) for value in fields[1:]]
        except ValueError:
            continue
    return result
