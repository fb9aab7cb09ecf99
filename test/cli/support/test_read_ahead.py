"""Reading ahead: the same items in the same order, errors in their place, nothing left behind."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from featdepth_ros.cli.support.read_ahead import read_ahead


def test_items_come_in_order_and_are_read_before_they_are_asked_for() -> None:
    read: list[int] = []

    def items():
        for i in range(50):
            read.append(i)
            yield i

    found = read_ahead(items())
    assert next(found) == 0
    deadline = time.monotonic() + 5
    while len(read) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 5 <= len(read) <= 7  # ahead, and not all of them
    assert list(found) == list(range(1, 50))


def test_an_error_comes_after_the_items_before_it() -> None:
    def items():
        yield from (1, 2)
        raise ValueError("broken")

    found = read_ahead(items())
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(found)


def test_stopping_early_ends_the_reading() -> None:
    before = threading.active_count()
    found = read_ahead(itertools.count())
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    found.close()
    assert threading.active_count() == before
