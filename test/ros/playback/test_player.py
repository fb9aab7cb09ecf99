"""The player's pace and clock, and what the recorder can hear, without a second process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.qos import ReliabilityPolicy
from ros_graph import graph, wait
from std_msgs.msg import String

from featdepth_ros.recordings.stream import StreamMessage, StreamTopic
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.playback.player import Player, PlayOptions, start_of_live
from featdepth_ros.ros.playback.recorder import Recorder

pytestmark = pytest.mark.ros

START_NS = 1_700_000_000_000_000_000


class FakePublisher:
    """Keeps when it was given what."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, Any]] = []

    def publish(self, message: Any) -> None:
        self.sent.append((time.monotonic(), message))

    def get_subscription_count(self) -> int:
        return 0


class FakeNode:
    def __init__(self) -> None:
        self.publishers: dict[str, FakePublisher] = {}

    def create_publisher(self, kind: Any, name: str, qos: Any) -> FakePublisher:
        return self.publishers.setdefault(name, FakePublisher())


class Ticking:
    """Five messages, 0.2 s apart."""

    topics = (StreamTopic("/word", "std_msgs/msg/String"),)
    image_topic = "/word"
    total = 5
    notes: tuple[str, ...] = ()
    live = False

    def __iter__(self) -> Iterator[StreamMessage]:
        for index in range(5):
            yield StreamMessage("/word", START_NS + index * 200_000_000, b"")


def test_a_rate_of_two_plays_twice_as_fast_and_the_clock_goes_along() -> None:
    node = FakeNode()
    Player(node, Ticking(), PlayOptions(rate=2.0, clock=True)).play(threading.Event())
    words, ticks = node.publishers["/word"].sent, node.publishers["/clock"].sent
    assert 0.38 < words[-1][0] - words[0][0] < 0.8  # 0.8 s of recording
    stamps = np.array([clock.clock.sec * 10**9 + clock.clock.nanosec for _, clock in ticks])
    assert len(stamps) > 10 and (np.diff(stamps) > 0).all()  # none twice: each wakes everyone that hears it
    assert stamps[0] >= START_NS - 1_000_000 and stamps[-1] == START_NS + 800_000_000
    # Between two messages the recording's time passes as fast as they come.
    assert np.polyfit([at for at, _ in ticks], stamps * 1e-9 - START_NS * 1e-9, 1)[0] == pytest.approx(2.0, rel=0.2)


class OneMoment(Ticking):
    """A recording that is over as it begins."""

    def __iter__(self) -> Iterator[StreamMessage]:
        yield StreamMessage("/word", START_NS, b"")


def test_every_loop_of_one_moment_has_its_tick() -> None:
    node, stop = FakeNode(), threading.Event()
    threading.Timer(0.2, stop.set).start()
    Player(node, OneMoment(), PlayOptions(loop=True, clock=True)).play(stop)
    assert len(node.publishers["/clock"].sent) >= len(node.publishers["/word"].sent) > 1


class SlowAndLive(Ticking):
    """The same, stamped from the time of playing on, and slow to read."""

    live = True

    def __iter__(self) -> Iterator[StreamMessage]:
        start = start_of_live()
        for index in range(5):
            time.sleep(0.1)
            yield StreamMessage("/word", start + index * 100_000_000, str(start + index * 100_000_000).encode())


def test_a_recording_that_is_stamped_while_it_is_played_is_not_old_when_it_comes() -> None:
    node = FakeNode()
    before = time.time_ns() - round(time.monotonic() * 1e9)
    Player(node, SlowAndLive(), PlayOptions(start_delay_s=0.2)).play(threading.Event())
    ages_s = [at + before * 1e-9 - int(data) * 1e-9 for at, data in node.publishers["/word"].sent]
    assert len(ages_s) == 5 and -0.02 < min(ages_s) and max(ages_s) < 0.1, ages_s


class FakeBag:
    """Takes what a `BagWriter` takes."""

    path = "."

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.heard: list[bytes] = []

    def add_topic(self, name: str, msgtype: str, **_: bool) -> None:
        self.counts[name] = 0

    def write(self, name: str, log_ns: int, data: bytes) -> None:
        self.counts[name] += 1
        self.heard.append(bytes(data))

    def commit(self) -> None:
        pass


def test_of_publishers_with_different_reliability_all_are_heard() -> None:
    with graph() as ros:
        talkers = {}
        for word in (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT):
            node = ros.add(rclpy.create_node(f"talker_{word.name.lower()}", context=ros.context))
            talkers[word.name] = node.create_publisher(String, "/mixed", keep_last(5, word))
        listener = rclpy.create_node("listener", context=ros.context)
        stop, bag = threading.Event(), FakeBag()
        recorder = Recorder(listener, bag, ["/mixed"])  # type: ignore[arg-type]
        recording = threading.Thread(target=recorder.record, args=(stop, 20.0))
        recording.start()

        def heard() -> bool:
            for name, publisher in talkers.items():
                publisher.publish(String(data=name))
            time.sleep(0.02)
            return all(any(name.encode() in data for data in list(bag.heard)) for name in talkers)

        try:
            wait(heard, "messages of both publishers", 10.0)
        finally:
            stop.set()
            recording.join(10.0)
            listener.destroy_node()
