"""What the readers of bag files give out: topics and messages as they are stored."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True)
class RawTopic:
    """A topic as stored.

    Attributes:
        name, msgtype: of the topic; the type in ROS 2's spelling.
        count: messages stored.
        definition: text of the type's definition, empty when the bag has none.
        transient_local: latched.
        reliable: of the offered QoS, None when not known.
        ros1: its messages are in ROS 1's serialisation.
    """

    name: str
    msgtype: str
    count: int
    definition: str = ""
    transient_local: bool = False
    reliable: bool | None = None
    ros1: bool = False


class RawMessage(NamedTuple):
    """A stored message: topic, recording time (ns), bytes in the bag's own serialisation."""

    topic: str
    log_ns: int
    data: bytes | memoryview


class BagBackend(Protocol):
    """What reads a bag's files. `messages` may be called many times and from any thread."""

    def topics(self) -> list[RawTopic]:
        """Return the stored topics."""
        ...

    def messages(self, names: Collection[str]) -> Iterator[RawMessage]:
        """Yield the messages of the named topics in order of recording time."""
        ...
