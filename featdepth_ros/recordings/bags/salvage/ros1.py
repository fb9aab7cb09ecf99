"""Scans the records of a ROS 1 bag in order, without its index (bag format 2.0)."""

from __future__ import annotations

import bz2
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from featdepth_ros.recordings.bags.storage.records import RawMessage, RawTopic

_MESSAGE, _CHUNK, _CONNECTION = 2, 5, 7
_MAGIC = b"#ROSBAG V2.0\n"
#: Upper bound in bytes of a plausible header; a longer one means that the scan has lost the record boundaries.
_MAX_HEADER = 1 << 20


def scan_ros1(path: Path) -> Iterator[RawTopic | RawMessage]:
    """Yield topics and messages up to the end of the file or its first damaged record."""
    size = path.stat().st_size
    names: dict[int, str] = {}
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return
        while True:
            header = _fields(_header(file))
            length = file.read(4)
            if header is None or len(length) < 4:
                return
            (data_size,) = struct.unpack("<I", length)
            operation = header.get(b"op", b"\0")[0]
            if operation in (_CHUNK, _CONNECTION, _MESSAGE):
                data = file.read(min(data_size, size - file.tell()))
                if operation == _CHUNK:
                    plain = _decompress(data, header.get(b"compression", b"none"), len(data) == data_size)
                    yield from _chunk(plain, names)
                elif len(data) == data_size:
                    yield from _record(header, data, names)
            else:
                file.seek(data_size, 1)
            if file.tell() >= size:
                return


def _header(file: BinaryIO) -> bytes | None:
    length = file.read(4)
    if len(length) < 4:
        return None
    (size,) = struct.unpack("<I", length)
    content = file.read(size) if size <= _MAX_HEADER else b""
    return content if len(content) == size else None


def _fields(header: bytes | None) -> dict[bytes, bytes] | None:
    if header is None:
        return None
    fields, position = {}, 0
    while position + 4 <= len(header):
        (size,) = struct.unpack_from("<I", header, position)
        name, separator, value = header[position + 4 : position + 4 + size].partition(b"=")
        if not separator:
            return None
        fields[name] = value
        position += 4 + size
    return fields


def _decompress(data: bytes, compression: bytes, whole: bool) -> bytes:
    """Return the records of a chunk; of a truncated compressed chunk, only the complete blocks."""
    if compression == b"none":
        return data
    try:
        if compression == b"bz2":
            return bz2.BZ2Decompressor().decompress(data)
        if compression == b"lz4" and whole:
            import lz4.frame

            return bytes(lz4.frame.decompress(data))
    except (OSError, RuntimeError, ValueError):
        return b""
    return b""


def _chunk(data: bytes, names: dict[int, str]) -> Iterator[RawTopic | RawMessage]:
    position = 0
    while position + 8 <= len(data):
        (header_size,) = struct.unpack_from("<I", data, position)
        header = _fields(data[position + 4 : position + 4 + header_size])
        position += 4 + header_size
        if header is None or position + 4 > len(data):
            return
        (data_size,) = struct.unpack_from("<I", data, position)
        position += 4
        if position + data_size > len(data):
            return
        yield from _record(header, data[position : position + data_size], names)
        position += data_size


def _record(header: dict[bytes, bytes], data: bytes, names: dict[int, str]) -> Iterator[RawTopic | RawMessage]:
    operation = header.get(b"op", b"\0")[0]
    if b"conn" not in header:
        return
    (connection,) = struct.unpack("<I", header[b"conn"])
    if operation == _CONNECTION and connection not in names:
        fields = _fields(data) or {}
        names[connection] = header.get(b"topic", b"").decode(errors="replace")
        package, _, name = fields.get(b"type", b"").decode(errors="replace").partition("/")
        definition = fields.get(b"message_definition", b"").decode(errors="replace")
        latched = fields.get(b"latching", b"0") == b"1"
        yield RawTopic(names[connection], f"{package}/msg/{name}", 0, definition, latched, ros1=True)
    elif operation == _MESSAGE and connection in names:
        seconds, nanoseconds = struct.unpack("<II", header[b"time"])
        yield RawMessage(names[connection], seconds * 1_000_000_000 + nanoseconds, data)
