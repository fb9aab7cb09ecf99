"""Damaged bags: what can still be read by walking through the records from the start.

Formats: ROS 1 bag 2.0 (wiki.ros.org/Bags/Format/2.0), MCAP (mcap.dev/spec), rosbag2's sqlite3 tables.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from featdepth_ros.recordings.bags.records import BagBackend, RawMessage, RawTopic
from featdepth_ros.recordings.bags.salvage.mcap import scan_mcap
from featdepth_ros.recordings.bags.salvage.ros1 import scan_ros1
from featdepth_ros.recordings.bags.salvage.sqlite import scan_sqlite

logger = logging.getLogger(__name__)

Scan: TypeAlias = "Callable[[Path], Iterator[RawTopic | RawMessage]]"


def salvage(files: Sequence[Path]) -> BagBackend | None:
    """Return a reader of the readable part of a bag's files, or None when no message is readable."""
    scans: dict[str, Scan] = {".bag": scan_ros1, ".mcap": scan_mcap, ".db3": scan_sqlite}
    parts = [(file, scans[file.suffix.lower()]) for file in files if file.suffix.lower() in scans]
    backend = ScanBackend(parts)
    return backend if any(topic.count for topic in backend.topics()) else None


class ScanBackend:
    """Messages in the order they were written, of one or more files; looks through all of them once when made."""

    def __init__(self, parts: Sequence[tuple[Path, Scan]]) -> None:
        self._parts = tuple(parts)
        self._topics: dict[str, RawTopic] = {}
        counts: dict[str, int] = {}
        for record in self._records():
            if isinstance(record, RawTopic):
                self._topics.setdefault(record.name, record)
            else:
                counts[record.topic] = counts.get(record.topic, 0) + 1
        self._topics = {name: replace(topic, count=counts.get(name, 0)) for name, topic in self._topics.items()}

    def _records(self) -> Iterator[RawTopic | RawMessage]:
        for file, scan in self._parts:
            try:
                yield from scan(file)
            except Exception as error:  # noqa: BLE001 - damaged bytes read as lengths, times or names raise anything
                logger.debug("%s: the walk through the records ended: %r", file, error)

    def topics(self) -> list[RawTopic]:
        """Return the topics seen, with the number of readable messages."""
        return list(self._topics.values())

    def messages(self, names: Collection[str]) -> Iterator[RawMessage]:
        """Yield the readable messages of the named topics."""
        for record in self._records():
            if isinstance(record, RawMessage) and record.topic in names:
                yield record
