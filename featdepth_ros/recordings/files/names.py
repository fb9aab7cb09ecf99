"""Names of image files: which they are, and their natural order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

#: A stamp of our time as the end of a name: seconds with their fraction, or whole ms, us, ns since 1970.
_STAMP = re.compile(r"(?:[A-Za-z_\-]*[A-Za-z_\-])?(1\d{9})(?:[._](\d{1,9})|(\d{3}|\d{6}|-?\d{9}))")
#: Digits that a double of seconds since 1970 has behind its point, at most.
_DIGITS_OF_A_DOUBLE = 7

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Return a sorting key under which ``frame2`` comes before ``frame10``."""
    parts = re.split(r"(\d+)", path.name)
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts if part)


def image_files(folder: Path) -> list[Path]:
    """Return the image files directly in a folder, in natural order of their names."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    return sorted((p for p in files if p.is_file()), key=natural_key)


def stamps_in_names(files: Sequence[Path]) -> list[int] | None:
    """Return the stamps (nanoseconds) that the names of image files are; None unless every name is another one.

    ``1403636579763555584.png`` (ns), also in ms and us, and ``1305031102.175304.png`` (s), with or without letters in
    front. Counters are shorter. ``<sec>_<nanosec>`` without the zeros in front (``1403636579_5000000.png``) is told by
    numbers of several lengths, none of which begins with a zero.
    """
    parts = []
    for file in files:
        match = _STAMP.fullmatch(file.stem)
        if match is None:
            return None
        seconds, fraction, rest = match.groups()
        parts.append((int(seconds), (fraction or rest).lstrip("-")))
    lengths = {len(fraction) for _, fraction in parts}
    unpadded = len(lengths) > 1 and max(lengths) > _DIGITS_OF_A_DOUBLE
    unpadded = unpadded and all(fraction == "0" or not fraction.startswith("0") for _, fraction in parts)
    stamps = [seconds * 10**9 + int(fraction if unpadded else fraction.ljust(9, "0")) for seconds, fraction in parts]
    return stamps if len(files) > 1 and len(set(stamps)) == len(stamps) else None
