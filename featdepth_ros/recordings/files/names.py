"""Names of image files: their suffixes, natural order and stamps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

#: A present-day stamp at the end of a name: seconds with a fraction, or integer ms, us or ns since 1970.
_STAMP = re.compile(r"(?:[A-Za-z_\-]*[A-Za-z_\-])?(1\d{9})(?:[._](\d{1,9})|(\d{3}|\d{6}|-?\d{9}))")
#: Largest number of decimal places of a double of seconds since 1970.
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
    """Return the stamps (nanoseconds) in the names of image files; None unless every name has a different one.

    Recognised are ``1403636579763555584.png`` (ns), also in ms and us, and ``1305031102.175304.png`` (s), with or
    without a prefix of letters. Counters have fewer digits. ``<sec>_<nanosec>`` without leading zeros
    (``1403636579_5000000.png``) is recognised by numbers of different lengths, none with a leading zero.
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
