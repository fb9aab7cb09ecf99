"""Names of image files: which they are, and their natural order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

#: A stamp of our time as the end of a name: seconds with their fraction, or whole ms, us, ns since 1970.
_STAMP = re.compile(r"(?:[A-Za-z_\-]*[A-Za-z_\-])?(1\d{9})(?:[._](\d{1,9})|(\d{3}|\d{6}|\d{9}))")

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
    front. Counters are shorter.
    """
    stamps = []
    for file in files:
        match = _STAMP.fullmatch(file.stem)
        if match is None:
            return None
        seconds, fraction, rest = match.groups()
        stamps.append(int(seconds) * 10**9 + int((fraction or rest).ljust(9, "0")))
    return stamps if len(files) > 1 and len(set(stamps)) == len(stamps) else None
