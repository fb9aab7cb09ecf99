"""Topics and messages of bag files in their stored form."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True)
class RawTopic:
    """A topic of a bag file.

    Attributes:
        name, msgtype: name and type of the topic; the type has the ROS 2 form.
        count: number of stored messages.
        definition: definition of the type; empty if the bag has none.
        transient_local: whether the topic is latched.
        reliable: reliability of the offered QoS; None if unknown.
        ros1: whether its messages are in ROS 1 serialisation.
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
    """Reader of a bag's files. `messages` may be called repeatedly and from any thread."""

    def topics(self) -> list[RawTopic]:
        """Return the stored topics."""
        ...

    def messages(self, names: Collection[str]) -> Iterator[RawMessage]:
        """Yield the messages of the named topics in order of recording time."""
        ...
