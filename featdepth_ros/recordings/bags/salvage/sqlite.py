"""Scans the rows of a rosbag2 database in order, as far as its pages exist (sqlite.org/fileformat.html)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featdepth_ros.recordings.bags.storage.records import RawMessage, RawTopic

_numbers = itertools.count()


def scan_sqlite(path: Path) -> Iterator[RawTopic | RawMessage]:
    """Yield topics and messages of a truncated or unfinished database, up to the first unreadable page."""
    import apsw

    try:
        connection, vfs = _open(path)
    except (apsw.Error, OSError):
        return
    try:
        names: dict[int, str] = {}
        for topic_id, name, msgtype, qos in _topics(connection):
            names[topic_id] = name
            yield RawTopic(name, msgtype, 0, "", "durability: 1" in qos or "transient_local" in qos)
        # Ordered by row, because the index of times may be damaged.
        for topic_id, timestamp, data in connection.execute(
            "SELECT topic_id, timestamp, data FROM messages ORDER BY id"
        ):
            if topic_id in names:
                yield RawMessage(names[topic_id], int(timestamp), bytes(data))
    except apsw.Error:
        return
    finally:
        connection.close()
        del vfs


def _open(path: Path) -> tuple[Any, Any]:
    """Return (connection, virtual file system or None); the file system must outlive the connection."""
    import apsw

    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    if path.with_name(path.name + "-wal").exists():  # a killed recorder's journal holds its latest messages
        return apsw.Connection(f"{path.resolve().as_uri()}?mode=ro", flags=flags), None
    vfs = _whole_size_vfs(path)
    return apsw.Connection(f"{path.resolve().as_uri()}?immutable=1", flags=flags, vfs=vfs.name), vfs


def _whole_size_vfs(path: Path) -> Any:
    """Return a virtual file system that presents a truncated database in full size, with zeros for missing bytes.

    Without it, sqlite rejects the whole file, including the intact pages.
    """
    import apsw

    with path.open("rb") as file:
        header = file.read(100)
    page_size = int.from_bytes(header[16:18], "big")
    stated = int.from_bytes(header[28:32], "big") * (65536 if page_size == 1 else page_size)
    size = max(stated, path.stat().st_size)

    class File(apsw.VFSFile):  # type: ignore[misc]
        def __init__(self, *_: Any) -> None:
            self._file = path.open("rb")

        def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - sqlite's names
            self._file.seek(offset)
            return self._file.read(amount).ljust(amount, b"\0")

        def xFileSize(self) -> int:  # noqa: N802
            return size

        def xFileControl(self, *_: Any) -> bool:  # noqa: N802
            return False

        def xDeviceCharacteristics(self) -> int:  # noqa: N802
            return 0

        def xSectorSize(self) -> int:  # noqa: N802
            return 0

        def xClose(self) -> None:  # noqa: N802
            self._file.close()

    class FileSystem(apsw.VFS):  # type: ignore[misc]
        def __init__(self) -> None:
            self.name = f"featdepth_salvage_{next(_numbers)}"
            super().__init__(self.name, "")

        def xOpen(self, name: Any, flags: Any) -> Any:  # noqa: N802
            return File(self, name, flags)

    return FileSystem()


def _topics(connection: Any) -> list[tuple[int, str, str, str]]:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(topics)")}
    qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
    rows = connection.execute(f"SELECT id, name, type, {qos} FROM topics").fetchall()
    return [(int(row[0]), str(row[1]), str(row[2]), str(row[3])) for row in rows]
