"""Publishes the messages of a recording at the recorded rate."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from featdepth_ros.recordings.stream import MessageStream, StreamMessage, StreamTopic
from featdepth_ros.ros.playback.message_types import message_class

#: Bounds of the read-ahead queue, which hides delays of decoding and disks.
AHEAD_BYTES = 128 * 1024 * 1024
AHEAD_MESSAGES = 2000
#: Period of /clock, as in `ros2 bag play --clock`. A shorter one costs time in every subscriber.
CLOCK_PERIOD_S = 0.025
#: Delay above which a message counts as late.
LATE_S = 0.02
#: Time between the match of a subscriber and its readiness to receive.
_SETTLE_S = 0.3
#: Delay between reading the first messages and the start, for a recording stamped during playback. It prevents that
#: reading ahead makes the stamps old.
_LIVE_LEAD_S = 1.0


def start_of_live() -> int:
    """Return the start time in nanoseconds of a recording that is read now and stamped during playback."""
    return time.time_ns() + round(_LIVE_LEAD_S * 1e9)


@dataclass(frozen=True)
class PlayOptions:
    """Options of the playback.

    Attributes:
        rate: factor on the recorded speed, above 0.
        loop: start again at the end; the stamps then jump back, as those of a looped bag do.
        clock: publish the recording's time on ``/clock``.
        reliable: overrides the reliability in the recording; None uses it (reliable if the recording has none).
        start_delay_s: seconds to wait before the first message.
        wait_for_subscriber_s: longest wait in seconds for a subscriber of the images.
    """

    rate: float = 1.0
    loop: bool = False
    clock: bool = False
    reliable: bool | None = None
    start_delay_s: float = 0.0
    wait_for_subscriber_s: float = 0.0


@dataclass
class PlayReport:
    """Result of a playback: messages per topic, wall time (s), frames of the image topic, lateness of messages (s)."""

    messages: dict[str, int] = field(default_factory=dict)
    elapsed_s: float = 0.0
    frames: int = 0
    frame_rate_hz: float | None = None
    late: int = 0
    latest_s: float = 0.0
    loops: int = 0
    interrupted: bool = False
    subscribers_found: bool | None = None


class ReadAhead:
    """Reads a stream on a separate thread into a queue that is bounded in bytes and messages.

    `next` returns the messages in order and raises an error of the stream in its place. `close` ends the thread.
    """

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self._queue: deque[StreamMessage] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closed = False
        self._done = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for message in self._stream:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._has_room())
                    if self._closed:
                        return
                    self._queue.append(message)
                    self._bytes += len(message.data)
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - handed over to the thread that plays
            self._error = error
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _has_room(self) -> bool:
        return not self._queue or (self._bytes < AHEAD_BYTES and len(self._queue) < AHEAD_MESSAGES)

    def next(self, stop: threading.Event) -> StreamMessage | None:
        """Return the next message; None at the end, or when ``stop`` is set."""
        with self._changed:
            while not self._queue and not self._done and not stop.is_set():
                self._changed.wait(0.1)
            if stop.is_set() or not self._queue:
                if self._error is not None and not stop.is_set():
                    raise self._error
                return None
            message = self._queue.popleft()
            self._bytes -= len(message.data)
            self._changed.notify_all()
            return message

    def fill(self, stop: threading.Event, messages: int = 30) -> None:
        """Wait until ``messages`` messages are read ahead, so that the first ones are not late."""
        with self._changed:
            while not (self._done or stop.is_set() or len(self._queue) >= messages or self._bytes > AHEAD_BYTES // 2):
                self._changed.wait(0.1)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=5.0)


class Player:
    """Publishes the messages of a stream with a node.

    Args:
        node: an rclpy node; needs no executor.
        stream: messages to publish.
        options: options of the playback.
        progress: called after every message.
    """

    def __init__(
        self, node: Any, stream: MessageStream, options: PlayOptions, progress: Callable[[], Any] = lambda: None
    ) -> None:
        self._node = node
        self._stream = stream
        self._options = options
        self._progress = progress
        self._publishers: dict[str, Any] = {}
        self._frame_times: list[float] = []
        self.report = PlayReport()
        for topic in stream.topics:
            if topic.name != "/clock" or not options.clock:
                self._publisher(topic)
        self._clock = self._clock_publisher() if options.clock else None
        self._clock_due = 0.0
        self._ticked_ns: int | None = None

    def _publisher(self, topic: StreamTopic) -> Any:
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        reliable = topic.reliable is not False if self._options.reliable is None else self._options.reliable
        qos = QoSProfile(
            depth=100 if topic.transient_local else 10,
            reliability=(
                ReliabilityPolicy.RELIABLE if reliable or topic.transient_local else ReliabilityPolicy.BEST_EFFORT
            ),
            durability=DurabilityPolicy.TRANSIENT_LOCAL if topic.transient_local else DurabilityPolicy.VOLATILE,
        )
        publisher = self._node.create_publisher(message_class(topic.msgtype), topic.name, qos)
        self._publishers[topic.name] = publisher
        return publisher

    def _clock_publisher(self) -> Any:
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from rosgraph_msgs.msg import Clock

        return self._node.create_publisher(
            Clock, "/clock", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        )

    def play(self, stop: threading.Event) -> PlayReport:
        """Play to the end, or until ``stop`` is set, and return the report.

        Raises:
            FeatDepthError: the recording cannot be read to its end.
        """
        self._await_subscriber(stop)
        stop.wait(self._options.start_delay_s)
        started = time.monotonic()
        while not stop.is_set():
            played = self._play_once(stop)
            self.report.loops += 1
            if not self._options.loop or not played:
                break
        self.report.elapsed_s = time.monotonic() - started
        self.report.interrupted = stop.is_set()
        self._rates()
        self._flush(stop)
        return self.report

    def _await_subscriber(self, stop: threading.Event) -> None:
        deadline = time.monotonic() + self._options.wait_for_subscriber_s
        publisher = self._publishers.get(self._stream.image_topic)
        if publisher is None or self._options.wait_for_subscriber_s <= 0.0:
            return
        matched = False
        while not stop.is_set() and not matched and time.monotonic() < deadline:
            matched = publisher.get_subscription_count() > 0
            stop.wait(_SETTLE_S if matched else 0.05)
        self.report.subscribers_found = matched

    def _play_once(self, stop: threading.Event) -> int:
        ahead = ReadAhead(self._stream)
        self._ticked_ns = None  # a loop may begin at the same time at which the last one ended
        played = 0
        try:
            ahead.fill(stop)
            start: tuple[float, int] | None = None
            while True:
                message = ahead.next(stop)
                if message is None:
                    return played
                if start is None:
                    ahead_s = (message.log_ns - time.time_ns()) * 1e-9 if self._stream.live else 0.0
                    start = (time.monotonic() + max(ahead_s, 0.0), message.log_ns)
                due = start[0] + (message.log_ns - start[1]) * 1e-9 / self._options.rate
                if not self._wait_until(due, message.log_ns, stop):
                    return played
                self._publish(message, due)
                played += 1
        finally:
            ahead.close()

    def _wait_until(self, due: float, log_ns: int, stop: threading.Event) -> bool:
        """Sleep until ``due`` (monotonic, s) and publish /clock meanwhile; return False when ``stop`` is set."""
        while True:
            remaining = due - time.monotonic()
            if remaining <= 0.0:
                break
            if self._clock is not None:
                self._tick(log_ns - round(remaining * self._options.rate * 1e9))
                remaining = min(remaining, CLOCK_PERIOD_S)
            if stop.wait(remaining):
                return False
        if self._clock is not None:
            self._clock_due = 0.0
            self._tick(log_ns)
        return not stop.is_set()

    def _tick(self, now_ns: int) -> None:
        if self._clock is None or time.monotonic() < self._clock_due or now_ns == self._ticked_ns:
            return  # messages with the same time share one clock message
        from rosgraph_msgs.msg import Clock

        message = Clock()
        now_ns = max(0, now_ns)
        message.clock.sec, message.clock.nanosec = now_ns // 10**9, now_ns % 10**9
        self._clock.publish(message)
        self._ticked_ns = now_ns
        self._clock_due = time.monotonic() + CLOCK_PERIOD_S

    def _publish(self, message: StreamMessage, due: float) -> None:
        if message.topic == "/clock" and self._clock is not None:
            return  # the player publishes its own /clock
        publisher = self._publishers.get(message.topic)
        if publisher is None:
            publisher = self._publisher(next(t for t in self._stream.topics if t.name == message.topic))
        publisher.publish(message.data)
        now = time.monotonic()
        late = now - due
        self.report.latest_s = max(self.report.latest_s, late)
        self.report.late += late > LATE_S
        self.report.messages[message.topic] = self.report.messages.get(message.topic, 0) + 1
        if message.topic == self._stream.image_topic:
            self.report.frames += 1
            self._frame_times.append(now)
        self._progress()

    def _rates(self) -> None:
        times = self._frame_times
        if len(times) > 1 and times[-1] > times[0]:
            self.report.frame_rate_hz = (len(times) - 1) / (times[-1] - times[0])

    def _flush(self, stop: threading.Event) -> None:
        """Give the last messages time to arrive before the publishers are destroyed."""
        from rclpy.duration import Duration

        for publisher in self._publishers.values():
            if publisher.get_subscription_count() > 0 and not stop.is_set():
                publisher.wait_for_all_acked(Duration(seconds=2))
        stop.wait(0.2)
