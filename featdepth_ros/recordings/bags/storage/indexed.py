"""Reads intact bags with the rosbags library."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from featdepth_ros.recordings.bags.storage.files import kind_of
from featdepth_ros.recordings.bags.storage.records import RawMessage, RawTopic


class IndexedBackend:
    """Reads ROS 1 bags and ROS 2 bags (folder, ``.db3``, ``.mcap``) with an intact index.

    Opening parses metadata and index, which costs far more than a message. So readers stay open and are reused, each
    by one iteration at a time.

    Raises:
        Exception: any exception of the library for a damaged bag or one without an index.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[Any] = deque()
        reader = self._opened()
        self._topics = [_raw_topic(c) for c in reader.connections]
        self._idle.append(reader)

    def __del__(self) -> None:
        for reader in getattr(self, "_idle", ()):
            with contextlib.suppress(Exception):
                reader.close()

    def _opened(self) -> Any:
        if not self._path.is_dir() and kind_of(self._path) == "ros1":
            from rosbags.rosbag1 import Reader as Reader1

            reader: Any = Reader1(self._path)
        else:
            from rosbags.rosbag2 import Reader as Reader2

            reader = Reader2(self._path)
        reader.open()
        return reader

    def topics(self) -> list[RawTopic]:
        """Return the stored topics."""
        return self._topics

    def messages(self, names: Collection[str]) -> Iterator[RawMessage]:
        """Yield the messages of the named topics in order of recording time."""
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = self._opened()
        try:
            connections = [c for c in reader.connections if c.topic in names]
            if connections:
                with contextlib.closing(reader.messages(connections=connections)) as messages:
                    for connection, log_ns, data in messages:
                        yield RawMessage(connection.topic, log_ns, data)
        except GeneratorExit:
            self._idle.append(reader)
            raise
        except Exception:
            with contextlib.suppress(Exception):
                reader.close()
            raise
        self._idle.append(reader)


def _raw_topic(connection: Any) -> RawTopic:
    from rosbags.interfaces import ConnectionExtRosbag1, QosDurability, QosReliability

    ros1 = isinstance(connection.ext, ConnectionExtRosbag1)
    if ros1:
        latched, reliable = bool(connection.ext.latching), None
    else:
        profiles = connection.ext.offered_qos_profiles
        latched = any(q.durability == QosDurability.TRANSIENT_LOCAL for q in profiles)
        reliable = any(q.reliability == QosReliability.RELIABLE for q in profiles) if profiles else None
    return RawTopic(
        connection.topic, connection.msgtype, connection.msgcount, connection.msgdef.data, latched, reliable, ros1
    )
