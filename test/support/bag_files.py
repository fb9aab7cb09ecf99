"""Writers of unusual bag files, as recorders and converters produce them."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from known_frames import START_NS
from ros1_types import ros1_store

from featdepth_ros.recordings.bags.messages import Messages
from featdepth_ros.recordings.bags.types import IMAGE, ros2_store

TOPIC = "/camera/image_raw"
STEP_NS = 100_000_000


def stamp(index: int) -> int:
    """Return the stamp of frame ``index``, nanoseconds."""
    return START_NS + index * STEP_NS


def picture(index: int) -> np.ndarray:
    """Return the (8, 8, 3) uint8 image of frame ``index``, whose pixels are all ``index`` modulo 256."""
    return np.full((8, 8, 3), index % 256, np.uint8)


def write_ros2(path: Path, numbers: Iterable[int], storage: str = "sqlite3", compression: str = "") -> Path:
    """Write frames into a rosbag2 folder; ``compression`` is ``file``, ``message`` or empty."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    make, store = Messages(), ros2_store()
    plugin = StoragePlugin.SQLITE3 if storage == "sqlite3" else StoragePlugin.MCAP
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compression:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(TOPIC, IMAGE, typestore=store)
        for index in numbers:
            message = make.image(make.header(stamp(index), "cam"), picture(index), "rgb8")
            writer.write(connection, stamp(index), store.serialize_cdr(message, IMAGE))
    return path


def write_storage_file(file: Path, numbers: Iterable[int], storage: str = "sqlite3", compression: str = "") -> None:
    """Write frames into one storage file without a metadata.yaml."""
    folder = write_ros2(file.with_name("being_written"), numbers, storage, compression)
    (written,) = [p for p in folder.iterdir() if p.suffix != ".yaml"]
    shutil.move(str(written), str(file))
    shutil.rmtree(folder)


def _ros1_image(index: int) -> bytes:
    store = ros1_store()
    types = store.types
    time = types["builtin_interfaces/msg/Time"](stamp(index) // 10**9, stamp(index) % 10**9)
    header = types["std_msgs/msg/Header"](index, time, "cam")
    image = types[IMAGE](header, 8, 8, "rgb8", 0, 24, picture(index).reshape(-1))
    return bytes(store.serialize_ros1(image, IMAGE))


def write_ros1(path: Path, numbers: Iterable[int]) -> None:
    """Write frames into a ROS 1 bag."""
    from rosbags.rosbag1 import Writer

    with Writer(path) as writer:
        connection = writer.add_connection(TOPIC, IMAGE, typestore=ros1_store())
        for index in numbers:
            writer.write(connection, stamp(index), _ros1_image(index))


def write_plain_mcap(path: Path, numbers: Iterable[int], ros1: bool = False, summary: bool = True) -> None:
    """Write an MCAP file without chunks (mcap.dev/spec), with messages in the given order; ``summary`` is optional."""

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value.encode())) + value.encode()

    def record(operation: int, body: bytes) -> bytes:
        return struct.pack("<BQ", operation, len(body)) + body

    order = list(numbers)
    store = ros1_store() if ros1 else ros2_store()
    definition = store.generate_msgdef(IMAGE, ros_version=1 if ros1 else 2)[0]
    name = "sensor_msgs/Image" if ros1 else IMAGE
    schema = record(3, struct.pack("<H", 1) + text(name) + text("ros1msg" if ros1 else "ros2msg") + text(definition))
    channel = record(4, struct.pack("<HH", 1, 1) + text(TOPIC) + text("ros1" if ros1 else "cdr") + struct.pack("<I", 0))
    data = b"\x89MCAP0\r\n" + record(1, text("ros1" if ros1 else "ros2") + text("test")) + schema + channel
    make = Messages()
    for sequence, index in enumerate(order):
        if ros1:
            content = _ros1_image(index)
        else:
            message = make.image(make.header(stamp(index), "cam"), picture(index), "rgb8")
            content = bytes(store.serialize_cdr(message, IMAGE))
        data += record(5, struct.pack("<HIQQ", 1, sequence, stamp(index), stamp(index)) + content)
    data += record(0x0F, struct.pack("<I", 0))
    start = 0
    if summary:
        start = len(data)
        times = [stamp(index) for index in order]
        numbers_of = struct.pack("<QHIIIIQQ", len(order), 1, 1, 0, 0, 0, min(times), max(times))
        counts = struct.pack("<HQ", 1, len(order))
        data += schema + channel + record(0x0B, numbers_of + struct.pack("<I", len(counts)) + counts)
    path.write_bytes(data + record(2, struct.pack("<QQI", start, 0, 0)) + b"\x89MCAP0\r\n")
