"""Writes ROS 2 bags message by message."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.bags.types import require_rosbags, ros2_store

STORAGES = ("sqlite3", "mcap")


class BagWriter:
    """Writes messages into a new ROS 2 bag. Use it in a ``with`` statement.

    If writing fails, the bag keeps the messages written so far and is closed in a readable state.

    Args:
        path: folder to create.
        storage: ``sqlite3`` or ``mcap``.

    Raises:
        RecordingError: the path exists, cannot be created, or the storage is not known.
        MissingDependencyError: rosbags is not installed.
    """

    def __init__(self, path: str | Path, storage: str = "sqlite3") -> None:
        require_rosbags()
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.rosbag2.errors import WriterError

        if storage not in STORAGES:
            raise RecordingError(f"bag storage '{storage}' is not known; expected one of {', '.join(STORAGES)}")
        self.path = Path(path)
        plugin = StoragePlugin.SQLITE3 if storage == "sqlite3" else StoragePlugin.MCAP
        try:
            # Version 8 is read by every distribution from Humble on.
            self._writer = Writer(self.path, version=8, storage_plugin=plugin)
            self._writer.open()
        except WriterError as error:
            raise RecordingError(f"'{path}' exists already; name another output or remove it") from error
        except OSError as error:
            raise RecordingError(f"bag '{path}' cannot be created: {error.strerror}") from error
        self._connections: dict[str, Any] = {}
        self.counts: dict[str, int] = {}

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_topic(self, topic: str, msgtype: str, transient_local: bool = False, reliable: bool = True) -> None:
        """Add a topic of a type the standard store knows, with the QoS its publisher offered."""
        self._connections[topic] = self._writer.add_connection(
            topic, msgtype, typestore=ros2_store(), offered_qos_profiles=[_qos(transient_local, reliable)]
        )
        self.counts[topic] = 0

    def write(self, topic: str, log_ns: int, data: bytes | memoryview) -> None:
        """Write serialised (CDR) bytes.

        Raises:
            RecordingError: the disk is full or the file cannot be written.
        """
        import sqlite3

        try:
            self._writer.write(self._connections[topic], log_ns, data)
        except (OSError, sqlite3.Error) as error:
            raise RecordingError(f"bag '{self.path}' cannot be written any further: {error}") from error
        self.counts[topic] += 1

    def write_message(self, topic: str, log_ns: int, message: Any) -> None:
        """Serialise and write a message of the standard store."""
        self.write(topic, log_ns, ros2_store().serialize_cdr(message, message.__msgtype__))

    def commit(self) -> None:
        """Flush the messages to the disk, so that a killed process leaves a readable bag (sqlite3).

        Raises:
            RecordingError: the disk is full or the file cannot be written.
        """
        import sqlite3

        connection = getattr(self._writer.storage, "conn", None)
        if connection is None:
            return
        try:
            connection.commit()
        except sqlite3.Error as error:
            raise RecordingError(f"bag '{self.path}' cannot be written any further: {error}") from error

    def close(self) -> None:
        """Finish the bag. A second call has no effect.

        Raises:
            RecordingError: the index cannot be written (disk full).
        """
        import sqlite3

        if self._writer.storage is None:
            return
        try:
            self._writer.close()
        except (OSError, sqlite3.Error) as error:
            with contextlib.suppress(OSError, sqlite3.Error):
                self._writer.abort()
            raise RecordingError(f"bag '{self.path}' could not be finished: {error}") from error


def _qos(transient_local: bool, reliable: bool) -> Any:
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    infinite = QosTime(9223372036, 854775807)
    return Qos(
        QosHistory.KEEP_LAST,
        100 if transient_local else 10,
        QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if transient_local else QosDurability.VOLATILE,
        infinite,
        infinite,
        QosLiveliness.AUTOMATIC,
        infinite,
        False,
    )
