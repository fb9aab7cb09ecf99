"""Detects bag files by content before suffix, and groups them to recordings by their numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.files.names import image_files, natural_key

BagKind = Literal["ros1", "mcap", "sqlite3"]

#: Kind of bag by suffix; ``.bag.active`` is a ROS 1 bag whose recorder was killed.
_SUFFIXES: dict[str, BagKind] = {".bag.active": "ros1", ".bag": "ros1", ".mcap": "mcap", ".db3": "sqlite3"}
_MAGIC: dict[bytes, BagKind] = {
    b"#ROSBAG V2.0": "ros1",
    b"\x89MCAP0\r\n": "mcap",
    b"SQLite format 3\0": "sqlite3",
}
#: Suffix that rosbag2 appends to the name of a compressed file.
_COMPRESSED = ".zstd"
_DATE = re.compile(r"_?\d{4}[-_]\d{2}[-_]\d{2}[-_T]\d{2}[-_]\d{2}[-_]\d{2}")


def kind_of(path: Path) -> BagKind | None:
    """Return the kind of a file by its first bytes, or by its suffix if they are inconclusive (damaged, compressed)."""
    promised = _promised(path)
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        return promised
    by_content = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
    if by_content == "sqlite3" and promised is None:
        return None  # a database of another program
    return by_content or promised


def is_compressed(path: Path) -> bool:
    """Return whether a file was compressed as a whole (rosbag2's compression mode FILE)."""
    return path.name.lower().endswith(_COMPRESSED)


def promises(path: Path, kind: BagKind) -> bool:
    """Return whether the file's suffix matches its content ``kind``."""
    return _promised(path) == kind


def is_bag(path: Path) -> bool:
    """Return whether a path is a bag: a file by content or suffix, a folder by the files in it.

    A folder of ROS 1 bags counts only if it has nothing else to read, as datasets keep bags beside their images.
    """
    if not path.is_dir():
        return kind_of(path) is not None
    if _of_rosbag2(path / "metadata.yaml"):
        return True
    kinds = {_promised(file) for file in bag_files(path)}
    if kinds == {"ros1"}:
        return not image_files(path) and not any(p.is_dir() for p in path.iterdir())
    return bool(kinds)


def bag_files(folder: Path) -> list[Path]:
    """Return the bag files directly in a folder, in natural order of their names.

    Hidden files are left out (macOS writes ``._x.mcap`` beside ``x.mcap``). So is a compressed file whose decompressed
    content lies beside it, where ``ros2 bag play`` leaves it.
    """
    files = [p for p in folder.iterdir() if _promised(p) is not None and not p.name.startswith(".") and p.is_file()]
    names = {p.name for p in files}
    return sorted((p for p in files if not (is_compressed(p) and p.stem in names)), key=natural_key)


def parts_of(path: Path) -> list[Path]:
    """Return the files of one recording: the file itself, or a folder's parts in the order of their numbers.

    Parts are named ``<bag>_<n>`` or ``<n>_<bag>``; a time of day in the name may differ from part to part.

    Raises:
        RecordingError: the folder holds files of several recordings, or one in two formats; the message names them.
    """
    if not path.is_dir():
        return [path]
    files = bag_files(path)
    by_stem: dict[str, Path] = {}
    for file in files:
        other = by_stem.setdefault(_stem(file), file)
        if other != file:
            raise RecordingError(
                f"folder '{path}' holds '{_stem(file)}' twice, and its messages would be read twice; name one: "
                f"{other.name}, {file.name}"
            )
    groups = _grouped(files, dated=False)
    if any(len({number for number, _ in group}) < len(group) for group in groups.values()):
        groups = _grouped(files, dated=True)  # numbers come twice: recordings of several times
    if len(groups) > 1:
        names = ", ".join(group[0][1].name for group in groups.values())
        raise RecordingError(f"folder '{path}' holds {len(groups)} recordings; name one: {names}")
    return [file for group in groups.values() for _, file in sorted(group)]


def _grouped(files: list[Path], dated: bool) -> dict[str, list[tuple[int, Path]]]:
    groups: dict[str, list[tuple[int, Path]]] = {}
    for file in files:
        stem = _stem(file)
        plain = _DATE.sub("", stem)
        match = re.fullmatch(r"(?P<bag>.*)_(?P<number>[0-9]+)|(?P<first>[0-9]+)_(?P<behind>.*)", plain)
        if match is None:
            groups[f"{stem} alone"] = [(0, file)]
            continue
        number = match["number"] or match["first"]
        date = "".join(_DATE.findall(stem)) if dated else ""
        groups.setdefault(f"{match['bag'] or match['behind'] or ''}{date}", []).append((int(number), file))
    return groups


def _of_rosbag2(metadata: Path) -> bool:
    """Return whether a metadata.yaml belongs to a bag, as other programs use that name, too."""
    try:
        return b"rosbag2_bagfile_information" in metadata.read_bytes()
    except OSError:
        return False


def _promised(path: Path) -> BagKind | None:
    name = path.name.lower().removesuffix(_COMPRESSED)
    return next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), None)


def _stem(path: Path) -> str:
    name = path.name[: -len(_COMPRESSED)] if is_compressed(path) else path.name
    return name[: -len(next(suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)))]
