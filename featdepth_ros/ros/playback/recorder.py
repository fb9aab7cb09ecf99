"""Writes topics into a bag in their serialised form."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from featdepth_ros.errors import RecordingError
from featdepth_ros.recordings.bags.types import ros2_store
from featdepth_ros.recordings.bags.writer import BagWriter
from featdepth_ros.ros.playback.message_types import message_class, register_installed_type

#: Topics of every node, which are recorded only when named.
_HOUSEKEEPING = ("/rosout", "/parameter_events")
_DISCOVERY_PERIOD_S = 0.25
_COMMIT_PERIOD_S = 2.0
#: Free space in bytes at which recording stops, so that the bag can still be completed.
MIN_FREE_BYTES = 64 * 1024 * 1024
#: Queue depth of a subscription, for times when the disk is slow.
_DEPTH = 50


@dataclass
class RecordReport:
    """Result of a recording: messages per topic, why it ended, and topics that were not recorded with the reason."""

    messages: dict[str, int] = field(default_factory=dict)
    elapsed_s: float = 0.0
    ended: str = ""
    left_out: dict[str, str] = field(default_factory=dict)


class Recorder:
    """Records topics of a node's graph, including topics that appear while it runs.

    Args:
        node: an rclpy node.
        bag: an open bag.
        topics: names of the topics to record; None: all.
        progress: called after every message.
    """

    def __init__(
        self,
        node: Any,
        bag: BagWriter,
        topics: Collection[str] | None,
        progress: Callable[[], Any] = lambda: None,
    ) -> None:
        self._node = node
        self._bag = bag
        self._wanted = None if topics is None else {node.resolve_topic_name(name) for name in topics}
        self._progress = progress
        self._subscriptions: dict[str, tuple[Any, tuple[bool, bool]]] = {}
        self._failure: RecordingError | None = None
        self.report = RecordReport()

    def record(self, stop: threading.Event, duration_s: float | None = None) -> RecordReport:
        """Record until ``stop`` is set, ``duration_s`` seconds have passed or the disk is full. The bag stays open.

        Returns:
            The report; its ``ended`` says why the recording ended.
        """
        from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

        executor = SingleThreadedExecutor(context=self._node.context)
        executor.add_node(self._node)
        started = time.monotonic()
        discover_at = commit_at = started
        try:
            while not self._over(stop, started, duration_s):
                now = time.monotonic()
                if now >= discover_at:
                    self._discover()
                    discover_at = now + _DISCOVERY_PERIOD_S
                if now >= commit_at:
                    self._bag.commit()
                    commit_at = now + _COMMIT_PERIOD_S
                    self._check_disk()
                executor.spin_once(timeout_sec=0.1)
        except ExternalShutdownException:
            self.report.ended = "ROS was shut down"
        except RecordingError as error:
            self.report.ended = str(error)
        finally:
            executor.remove_node(self._node)
            executor.shutdown(timeout_sec=1.0)
        self.report.elapsed_s = time.monotonic() - started
        self.report.messages = dict(self._bag.counts)
        return self.report

    def _over(self, stop: threading.Event, started: float, duration_s: float | None) -> bool:
        if self._failure is not None:
            raise self._failure
        if stop.is_set():
            self.report.ended = "stopped"
        elif duration_s is not None and time.monotonic() - started >= duration_s:
            self.report.ended = "the time is over"
        return bool(self.report.ended)

    def _check_disk(self) -> None:
        status = os.statvfs(self._bag.path)
        free = status.f_bavail * status.f_frsize
        if free < MIN_FREE_BYTES:
            raise RecordingError(
                f"the disk is full: {free // 2**20} MiB are left, and {MIN_FREE_BYTES // 2**20} MiB are kept to "
                "complete the bag; free space or record to another disk"
            )

    def _discover(self) -> None:
        for name, types in self._node.get_topic_names_and_types():
            if name in self.report.left_out or not self._is_wanted(name):
                continue
            publishers = self._node.get_publishers_info_by_topic(name)
            if not publishers:
                continue
            if len(types) > 1:
                self.report.left_out[name] = f"it has several types: {', '.join(types)}"
            else:
                self._subscribe(name, types[0], _compatible(publishers))

    def _is_wanted(self, name: str) -> bool:
        return name not in _HOUSEKEEPING if self._wanted is None else name in self._wanted

    def _subscribe(self, name: str, msgtype: str, qos: tuple[bool, bool]) -> None:
        """Subscribe, or subscribe again if a new publisher offers weaker QoS than the earlier ones."""
        known = self._subscriptions.get(name)
        if known is not None:
            reliable, transient_local = (old and new for old, new in zip(known[1], qos, strict=True))
            if known[1] == (reliable, transient_local):
                return
            qos = (reliable, transient_local)
            self._node.destroy_subscription(known[0])
        else:
            reason = self._add_to_bag(name, msgtype, qos)
            if reason is not None:
                self.report.left_out[name] = reason
                return

        def write(data: bytes) -> None:
            self._write(name, data)

        subscription = self._node.create_subscription(message_class(msgtype), name, write, _profile(*qos), raw=True)
        self._subscriptions[name] = (subscription, qos)

    def _add_to_bag(self, name: str, msgtype: str, qos: tuple[bool, bool]) -> str | None:
        if message_class(msgtype) is None:
            return f"its type {msgtype} is not installed"
        if msgtype not in ros2_store().fielddefs and not register_installed_type(msgtype):
            return f"the definition of its type {msgtype} is not installed"
        self._bag.add_topic(name, msgtype, transient_local=qos[1], reliable=qos[0])
        return None

    def _write(self, name: str, data: bytes) -> None:
        try:
            self._bag.write(name, time.time_ns(), data)
        except RecordingError as error:
            self._failure = error
            return
        self._progress()


def _compatible(publishers: list[Any]) -> tuple[bool, bool]:
    """Return (reliable, transient local): the strongest QoS that every publisher offers."""
    from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

    profiles = [p.qos_profile for p in publishers]
    return (
        all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles),
        all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles),
    )


def _profile(reliable: bool, transient_local: bool) -> Any:
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(
        depth=_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if transient_local else DurabilityPolicy.VOLATILE,
    )
