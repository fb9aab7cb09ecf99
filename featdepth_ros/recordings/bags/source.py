"""Bags of every kind behind one face: topics, and messages in ROS 2's serialisation, in order of recording time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.bags.records import BagBackend, RawMessage, RawTopic, is_ros1_bag
from featdepth_ros.recordings.bags.types import require_rosbags, ros2_store, same_layout

BAG_SUFFIXES = (".bag", ".db3", ".mcap")


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag.

    Attributes:
        name, msgtype: of the topic; the type in ROS 2's spelling (``sensor_msgs/msg/Image``).
        count: messages stored.
        transient_local: latched, as ``/tf_static`` is.
        reliable: the recorded publisher's reliability, None when the bag does not say.
        convertible: its messages can be had in ROS 2's serialisation.
    """

    name: str
    msgtype: str
    count: int
    transient_local: bool
    reliable: bool | None
    convertible: bool


def is_bag(path: Path) -> bool:
    """Tell whether a path looks like a bag: by suffix, or a folder that holds a ROS 2 bag's files."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or bool(_storage_files(path))
    return path.suffix.lower() in BAG_SUFFIXES


def _storage_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix in (".db3", ".mcap") and p.is_file())


class BagSource:
    """A bag that has been looked into. Every call of `messages` reads the files anew.

    Attributes:
        path: of the bag.
        ros1: it is a ROS 1 bag; messages are converted on the way.
        topics: by name.
        notes: how it was read, where that is worth knowing (truncated, unindexed, damaged at the end).

    Raises:
        RecordingError: no bag, or not a single message can be read.
        MissingDependencyError: rosbags is not installed.
    """

    def __init__(self, path: Path) -> None:
        require_rosbags()
        self.path = path
        self.ros1 = is_ros1_bag(path)
        self.notes: list[str] = []
        self._backend = self._open()
        self.topics: dict[str, BagTopic] = {}
        for raw in self._backend.topics():
            self._add(raw)

    def _open(self) -> BagBackend:
        from featdepth_ros.recordings.bags.rosbags_backend import RosbagsBackend
        from featdepth_ros.recordings.bags.salvage.backend import salvage

        try:
            return RosbagsBackend(self.path)
        except Exception as error:  # noqa: BLE001 - the reader raises anything from damaged files, assertions included
            reason = str(error) or type(error).__name__
        files = [self.path] if self.path.is_file() else _storage_files(self.path)
        if len(files) == 1 and not (self.path / "metadata.yaml").is_file() and self.path.is_dir():
            with contextlib.suppress(Exception):  # a recorder that was killed leaves no metadata; the file may be whole
                backend: BagBackend = RosbagsBackend(files[0])
                self.notes.append("the bag has no metadata.yaml; its one file is read directly")
                return backend
        salvaged = salvage(files)
        if salvaged is None:
            raise RecordingError(f"bag '{self.path}' cannot be read: {reason}")
        self.notes.append(
            f"the bag is damaged ({reason.rstrip('.')}); its {sum(t.count for t in salvaged.topics())} readable "
            "messages are used, in the order they were written"
        )
        return salvaged

    def _add(self, raw: RawTopic) -> None:
        if raw.name in self.topics:  # several publishers of one topic
            known = self.topics[raw.name]
            count = known.count + (raw.count if raw.msgtype == known.msgtype else 0)
        else:
            count = raw.count
        store = ros2_store()
        convertible = raw.msgtype in store.fielddefs
        if convertible and self.ros1:
            convertible = _ros1_layout_equals(raw)
        self.topics[raw.name] = BagTopic(
            raw.name, raw.msgtype, count, raw.transient_local or raw.name == "/tf_static", raw.reliable, convertible
        )

    def messages(self, names: Collection[str]) -> Iterator[RawMessage]:
        """Yield the messages of the named topics, CDR-serialised, until the end or to where the bag is readable."""
        convert: Callable[[bytes | memoryview, str], bytes | memoryview]
        convert = ros2_store().ros1_to_cdr if self.ros1 else _unchanged
        count = 0
        try:
            for message in self._backend.messages(names):
                count += 1
                yield message._replace(data=convert(message.data, self.topics[message.topic].msgtype))
        except GeneratorExit:
            raise
        except Exception as error:  # noqa: BLE001 - see _open
            reason = str(error) or type(error).__name__
            note = f"the bag is readable up to message {count} of the topics asked for: {reason}"
            if note not in self.notes:
                self.notes.append(note)

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


def _unchanged(data: bytes | memoryview, msgtype: str) -> bytes | memoryview:
    del msgtype
    return data


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
