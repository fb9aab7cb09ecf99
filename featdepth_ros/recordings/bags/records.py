"""What the readers of bag files give out: topics and messages as they are stored."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol


@dataclass(frozen=True)
class RawTopic:
    """A topic as stored: its type's definition text (empty when the bag has none) and the offered QoS, when known."""

    name: str
    msgtype: str
    count: int
    definition: str = ""
    transient_local: bool = False
    reliable: bool | None = None


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


def is_ros1_bag(path: Path) -> bool:
    """Tell whether a path is a ROS 1 bag; a ROS 2 bag is a folder, whatever its name ends in."""
    return path.suffix.lower() == ".bag" and not path.is_dir()
