from __future__ import annotations

import threading
import time

import pytest

from featdepth_ros.ros.statistics import Statistics
from featdepth_ros.ros.worker import NewestItemsWorker


def test_only_the_newest_waits() -> None:
    started, go, seen = threading.Event(), threading.Event(), []

    def process(items: dict[str, int]) -> None:
        seen.append(items)
        started.set()
        go.wait(5.0)

    worker: NewestItemsWorker[int] = NewestItemsWorker(process, "test")
    worker.start()
    assert worker.offer("a", 0) is False
    assert started.wait(5.0)
    dropped = [worker.offer("a", i) for i in range(1, 6)]
    assert dropped == [False, True, True, True, True]
    started.clear()
    go.set()
    assert started.wait(5.0)
    assert worker.stop(5.0)
    assert seen == [{"a": 0}, {"a": 5}]


def test_a_batch_is_the_newest_of_whoever_has_one() -> None:
    started, go, seen = threading.Event(), threading.Event(), []

    def process(items: dict[str, int]) -> None:
        seen.append(items)
        started.set()
        go.wait(5.0)

    worker: NewestItemsWorker[int] = NewestItemsWorker(process, "test")
    worker.start()
    assert not worker.offer("front", 0)
    assert started.wait(5.0)
    dropped = [worker.offer(source, i) for i, source in enumerate(("left", "front", "left", "right"))]
    assert dropped == [False, False, True, False]
    started.clear()
    go.set()
    assert started.wait(5.0)
    assert worker.stop(5.0)
    assert seen == [{"front": 0}, {"left": 2, "front": 1, "right": 3}]


def test_stop_forgets_what_waits_and_reports_a_hang() -> None:
    started, go, seen = threading.Event(), threading.Event(), []

    def process(items: dict[str, int]) -> None:
        seen.append(items)
        started.set()
        go.wait(5.0)

    worker: NewestItemsWorker[int] = NewestItemsWorker(process, "test")
    worker.start()
    worker.offer("a", 1)
    assert started.wait(5.0)
    worker.offer("a", 2)
    assert worker.stop(0.05) is False
    go.set()
    assert worker.stop(5.0) is True
    assert seen == [{"a": 1}]


def test_statistics_count_and_measure() -> None:
    statistics = Statistics()
    for _ in range(3):
        statistics.image_arrived(replaced=False)
    statistics.image_arrived(replaced=True)
    statistics.image_rejected("bad step")
    assert statistics.snapshot().last_error == "bad step"
    for latency in (10.0, 30.0, 20.0):
        statistics.image_processed(latency, 50.0, {"depth": 8.0})
    statistics.image_skipped("each has the stamp of the one before")
    assert statistics.snapshot().left_out == "each has the stamp of the one before"
    statistics.image_skipped()
    assert statistics.snapshot().left_out == "", "somebody wants it so"
    statistics.time_jumped()
    now = statistics.snapshot()
    assert (now.received, now.processed, now.dropped, now.rejected) == (4, 3, 1, 1)
    assert (now.skipped, now.time_jumps, now.last_error) == (2, 1, "")
    assert (now.latency_ms, now.age_ms, now.stage_ms) == (20.0, 50.0, {"depth": 8.0})
    assert now.rate_hz > 0 and now.silent_s < 5.0 and now.unused_s < 5.0


def test_the_rate_is_that_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    statistics = Statistics()
    statistics.image_processed(1.0, 1.0, {})
    for _ in range(5):  # a minute later, every quarter of a second
        now = max(now + 0.25, 160.0)
        statistics.image_processed(20.0, 1.0, {})
    figures = statistics.snapshot()
    assert figures.rate_hz == 4.0 and figures.latency_ms == 20.0
    now += 60.0
    assert statistics.snapshot().rate_hz == 0.0
