"""Reads damaged bags by scanning their records from the start.

Formats: ROS 1 bag 2.0 (wiki.ros.org/Bags/Format/2.0), MCAP (mcap.dev/spec), rosbag2's sqlite3 tables.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from featdepth_ros.recordings.bags.salvage.mcap import scan_mcap
from featdepth_ros.recordings.bags.salvage.ros1 import scan_ros1
from featdepth_ros.recordings.bags.salvage.sqlite import scan_sqlite
from featdepth_ros.recordings.bags.storage.files import BagKind, kind_of
from featdepth_ros.recordings.bags.storage.records import BagBackend, RawMessage, RawTopic

logger = logging.getLogger(__name__)

Scan: TypeAlias = "Callable[[Path], Iterator[RawTopic | RawMessage]]"


#: Longest delay in nanoseconds at which a late message is sorted into its place. Larger steps are jumps of the clock.
_LATEST_NS = 60_000_000_000


def salvage(files: Sequence[Path]) -> BagBackend | None:
    """Return a reader of the intact part of a bag's files; None if no message is readable."""
    scans: dict[BagKind, Scan] = {"ros1": scan_ros1, "mcap": scan_mcap, "sqlite3": scan_sqlite}
    kinds = [(file, kind_of(file)) for file in files]
    backend = ScanBackend([(file, scans[kind]) for file, kind in kinds if kind is not None])
    return backend if any(topic.count for topic in backend.topics()) else None


class ScanBackend:
    """Messages of one or more files in order of recording time. The constructor scans all files once.

    A recorder writes the messages of several publishers as they arrive, so some are out of order. The first scan
    measures the longest delay. Reading holds messages back for that time and sorts them.
    """

    def __init__(self, parts: Sequence[tuple[Path, Scan]]) -> None:
        self._parts = tuple(parts)
        self._topics: dict[str, RawTopic] = {}
        counts: dict[str, int] = {}
        newest, latest = 0, 0
        for record in self._records():
            if isinstance(record, RawTopic):
                self._topics.setdefault(record.name, record)
            else:
                counts[record.topic] = counts.get(record.topic, 0) + 1
                newest = max(newest, record.log_ns)
                latest = max(latest, newest - record.log_ns)
        self._late_ns = latest if latest <= _LATEST_NS else 0
        self._topics = {name: replace(topic, count=counts.get(name, 0)) for name, topic in self._topics.items()}

    def _records(self) -> Iterator[RawTopic | RawMessage]:
        for file, scan in self._parts:
            try:
                yield from scan(file)
            except Exception as error:  # noqa: BLE001 - damaged bytes read as lengths, times or names raise anything
                logger.debug("%s: the scan of the records ended: %r", file, error)

    def topics(self) -> list[RawTopic]:
        """Return the topics seen, with the number of readable messages."""
        return list(self._topics.values())

    def messages(self, names: Collection[str]) -> Iterator[RawMessage]:
        """Yield the readable messages of the named topics in order of recording time."""
        waiting: list[tuple[int, int, RawMessage]] = []
        newest = 0
        for number, record in enumerate(self._records()):
            if not isinstance(record, RawMessage) or record.topic not in names:
                continue
            if not self._late_ns:
                yield record
                continue
            newest = max(newest, record.log_ns)
            heapq.heappush(waiting, (record.log_ns, number, record))
            while waiting[0][0] <= newest - self._late_ns:
                yield heapq.heappop(waiting)[2]
        while waiting:
            yield heapq.heappop(waiting)[2]
