"""Scans the records of an MCAP file in order, without its summary (mcap.dev/spec)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from featdepth_ros.messages.zstandard import decompress_zstd
from featdepth_ros.recordings.bags.storage.records import RawMessage, RawTopic

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F


def scan_mcap(path: Path) -> Iterator[RawTopic | RawMessage]:
    """Yield topics and messages up to the end of the file or its first damaged record."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            yield from _records(file, path.stat().st_size, {}, {})


def has_chunks(path: Path) -> bool:
    """Return whether the messages of an MCAP file are in chunks; its index covers only chunks."""
    end = path.stat().st_size
    with path.open("rb") as file:
        file.read(len(_MAGIC))
        while len(head := file.read(9)) == 9:
            operation, size = struct.unpack("<BQ", head)
            if operation in (_MESSAGE, _CHUNK, _DATA_END) or size > end:
                return bool(operation == _CHUNK)
            file.seek(size, 1)
    return False


def _records(
    file: BinaryIO, end: int, schemas: dict[int, tuple[str, str]], names: dict[int, str]
) -> Iterator[RawTopic | RawMessage]:
    while True:
        head = file.read(9)
        if len(head) < 9:
            return
        operation, size = struct.unpack("<BQ", head)
        available = end - file.tell()
        if operation == _DATA_END:
            return
        if operation not in (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK):
            if size > available:
                return
            file.seek(size, 1)
            continue
        data = file.read(min(size, available))
        if operation == _CHUNK:
            plain = _chunk(data, len(data) == size)
            yield from _records(io.BytesIO(plain), len(plain), schemas, names)
        if len(data) < size:
            return
        if operation == _SCHEMA:
            (schema,) = struct.unpack_from("<H", data)
            name, after = _text(data, 2)
            _, after = _text(data, after)
            schemas[schema] = (name, _text(data, after)[0])
        elif operation == _CHANNEL:
            yield from _new_topic(data, schemas, names)
        elif operation == _MESSAGE:
            channel, _, log_ns, _ = struct.unpack_from("<HIQQ", data)
            if channel in names:
                yield RawMessage(names[channel], log_ns, data[22:])


def _new_topic(data: bytes, schemas: dict[int, tuple[str, str]], names: dict[int, str]) -> Iterator[RawTopic]:
    """Yield the topic of a channel record unless an earlier record defined it, and add its name to ``names``."""
    channel, schema = struct.unpack_from("<HH", data)
    name, after = _text(data, 4)
    encoding, after = _text(data, after)
    if channel not in names:
        names[channel] = name
        latched = b"transient_local" in data[after:] or b"durability: 1" in data[after:]
        msgtype, definition = schemas.get(schema, ("", ""))
        if msgtype.count("/") == 1:  # the form of ROS 1 names
            msgtype = msgtype.replace("/", "/msg/")
        yield RawTopic(name, msgtype, 0, definition, latched, ros1=encoding == "ros1")


def _text(data: bytes, position: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<I", data, position)
    end = position + 4 + size
    return data[position + 4 : end].decode(errors="replace"), end


def _chunk(data: bytes, whole: bool) -> bytes:
    """Return the records of a chunk; empty bytes for a truncated compressed chunk."""
    if len(data) < 40:
        return b""
    compression, position = _text(data, 28)
    records = data[position + 8 :]
    if compression == "":
        return records
    try:
        if whole and compression == "lz4":
            import lz4.frame

            return bytes(lz4.frame.decompress(records))
        if whole and compression == "zstd":
            return decompress_zstd(records)
    except Exception:  # noqa: BLE001 - each codec has errors of its own
        return b""
    return b""
