"""Decodes frames ahead of their use, on a separate thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

#: Largest number of waiting items; an image of 1080p takes six megabytes.
_AHEAD = 4


class _End:
    """Marks the end of the items; ``error`` is the exception that ended the reading, or None."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield the items in order while a thread reads the next ones.

    An exception of ``items`` is raised here, after the items before it. A caller that stops early ends the thread.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(_AHEAD)
    stopped = threading.Event()

    def put(item: T | _End) -> None:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def read() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised again where the items are used
            put(_End(error))
        else:
            put(_End(None))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        reader.join()
