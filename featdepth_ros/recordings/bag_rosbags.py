"""Intact bags, read by the rosbags library."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from featdepth_ros.recordings.bag_source import RawMessage, RawTopic


class RosbagsBackend:
    """Reads ROS 1 bags and ROS 2 bags (folder, ``.db3``, ``.mcap``) with an intact index.

    Raises:
        Exception: whatever the library raises on a bag without index, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._reader() as reader:
            self._topics = [_raw_topic(c) for c in reader.connections]

    def _reader(self) -> Any:
        if self._path.suffix.lower() == ".bag":
            from rosbags.rosbag1 import Reader as Reader1

            return Reader1(self._path)
        from rosbags.rosbag2 import Reader as Reader2

        return Reader2(self._path)

    def topics(self) -> list[RawTopic]:
        """Return the stored topics."""
        return self._topics

    def messages(self, names: Collection[str]) -> Iterator[RawMessage]:
        """Yield the messages of the named topics in order of recording time."""
        with self._reader() as reader:
            connections = [c for c in reader.connections if c.topic in names]
            if not connections:
                return
            with closing(reader.messages(connections=connections)) as messages:
                for connection, log_ns, data in messages:
                    yield RawMessage(connection.topic, log_ns, data)


def _raw_topic(connection: Any) -> RawTopic:
    from rosbags.interfaces import ConnectionExtRosbag1, QosDurability, QosReliability

    if isinstance(connection.ext, ConnectionExtRosbag1):
        latched, reliable = bool(connection.ext.latching), None
    else:
        profiles = connection.ext.offered_qos_profiles
        latched = any(q.durability == QosDurability.TRANSIENT_LOCAL for q in profiles)
        reliable = any(q.reliability == QosReliability.RELIABLE for q in profiles) if profiles else None
    return RawTopic(
        connection.topic, connection.msgtype, connection.msgcount, connection.msgdef.data, latched, reliable
    )
