"""One interface to bags of every kind: topics, and messages in ROS 2 serialisation in order of recording time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featdepth_ros.errors import RecordingError
from featdepth_ros.messages.zstandard import ZSTD_MAGIC, decompress_zstd
from featdepth_ros.recordings.bags.storage.files import bag_files, parts_of
from featdepth_ros.recordings.bags.storage.records import BagBackend, RawMessage, RawTopic
from featdepth_ros.recordings.bags.types import require_rosbags, ros2_store, same_layout


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag.

    Attributes:
        name, msgtype: name and type of the topic; the type has the ROS 2 form (``sensor_msgs/msg/Image``).
        count: number of stored messages.
        transient_local: whether the topic is latched, like ``/tf_static``.
        reliable: reliability of the recorded publisher; None if the bag does not store it.
        convertible: whether its messages can be converted to ROS 2 serialisation.
        ros1: whether its messages are stored in ROS 1 serialisation, and converted when read.
    """

    name: str
    msgtype: str
    count: int
    transient_local: bool
    reliable: bool | None
    convertible: bool
    ros1: bool = False


class BagSource:
    """An opened bag. Every call of `messages` reads the files again.

    Attributes:
        path: path of the bag.
        topics: topics by name.
        notes: notes to the user about the bag (truncated, without index, damaged at the end).

    Raises:
        RecordingError: the path is no bag, or no message can be read.
        MissingDependencyError: rosbags is not installed.
    """

    def __init__(self, path: Path) -> None:
        require_rosbags()
        self.path = path
        self.notes: list[str] = []
        self._files: list[Path] = []
        self._complete = False
        self._backend = self._open()
        self.topics: dict[str, BagTopic] = {}
        for raw in self._backend.topics():
            self._add(raw)

    def _open(self) -> BagBackend:
        from featdepth_ros.recordings.bags.storage.indexed import IndexedBackend
        from featdepth_ros.recordings.bags.storage.parts import PartsBackend

        reason = ""
        if self.path.is_dir() and (self.path / "metadata.yaml").is_file():
            self._files = bag_files(self.path)
            try:
                return IndexedBackend(self.path)
            except Exception as error:  # noqa: BLE001 - damaged files raise anything, assertions included
                reason = str(error) or type(error).__name__
                self.notes.append(
                    f"the bag is damaged ({reason.rstrip('.')}); its files are read without metadata.yaml"
                )
        elif self.path.is_dir():
            self.notes.append("the bag has no metadata.yaml; its files are read in the order of their numbers")
        self._files = parts_of(self.path)
        try:
            backend = PartsBackend(self._files)
        except RecordingError as error:
            raise RecordingError(f"bag '{self.path}' cannot be read: {reason or error}") from error
        self.notes.extend(backend.notes)
        return backend

    def _add(self, raw: RawTopic) -> None:
        if raw.name in self.topics:  # several publishers of one topic
            known = self.topics[raw.name]
            count = known.count + (raw.count if raw.msgtype == known.msgtype else 0)
        else:
            count = raw.count
        store = ros2_store()
        convertible = raw.msgtype in store.fielddefs
        if convertible and raw.ros1:
            convertible = _ros1_layout_equals(raw)
        latched = raw.transient_local or raw.name == "/tf_static"
        self.topics[raw.name] = BagTopic(raw.name, raw.msgtype, count, latched, raw.reliable, convertible, raw.ros1)

    def messages(self, names: Collection[str]) -> Iterator[RawMessage]:
        """Yield the messages of the named topics in CDR serialisation, as far as the bag is readable.

        If the index promises more messages than it yields, the records of the files are scanned for the rest.
        """
        announced = sum(topic.count for topic in self.topics.values() if topic.name in names)
        count, last_ns, reason = 0, -1, ""
        try:
            for message in self._backend.messages(names):
                count += 1
                last_ns = max(last_ns, message.log_ns)
                yield self._converted(message)
        except GeneratorExit:
            raise
        except Exception as error:  # noqa: BLE001 - see _open
            reason = str(error) or type(error).__name__
        if count < announced and not self._complete:
            for message in self._rest(names, count, last_ns):
                count += 1
                yield self._converted(message)
        if reason or count < announced:
            reason = reason or f"its index counts {announced}"
            note = f"the bag is readable up to message {count} of the requested topics: {reason}"
            if note not in self.notes:
                self.notes.append(note)

    def _rest(self, names: Collection[str], count: int, last_ns: int) -> Iterator[RawMessage]:
        """Yield the messages that a scan of the files finds after the last one; later reads use that scan instead."""
        from featdepth_ros.recordings.bags.salvage.backend import salvage

        self._complete = True
        walked = salvage(self._files)
        if walked is not None and sum(t.count for t in walked.topics() if t.name in names) > count:
            self._backend = walked
            yield from (message for message in walked.messages(names) if message.log_ns > last_ns)

    def _converted(self, message: RawMessage) -> RawMessage:
        data, topic = message.data, self.topics[message.topic]
        if bytes(data[:4]) == ZSTD_MAGIC:  # each message is compressed, and metadata.yaml, which says so, is missing
            data = decompress_zstd(bytes(data))
        if topic.ros1:
            data = ros2_store().ros1_to_cdr(data, topic.msgtype)
        return message._replace(data=data)

    def decode(self, message: RawMessage) -> Any:
        """Return the message as an object with its fields.

        Raises:
            RecordingError: the bytes do not hold a message of the topic's type.
        """
        msgtype = self.topics[message.topic].msgtype
        try:
            return ros2_store().deserialize_cdr(message.data, msgtype)
        except Exception as error:
            raise RecordingError(f"a {msgtype} message on {message.topic} is malformed: {error}") from error


def _ros1_layout_equals(raw: RawTopic) -> bool:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    if not raw.definition:
        return False
    stored_types = get_typestore(Stores.EMPTY)
    try:
        stored_types.register(get_types_from_msg(raw.definition, raw.msgtype))
    except Exception:  # noqa: BLE001 - a definition that cannot be parsed is one that cannot be converted
        return False
    return same_layout(ros2_store(), stored_types, raw.msgtype)
