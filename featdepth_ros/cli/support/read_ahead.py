"""Frames decoded a little ahead of their use, on a thread of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

#: Items that wait at most; an image of 1080p takes six megabytes.
_AHEAD = 4


class _End:
    """Follows the last item; carries what ended the reading."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield the items in order while the next ones are read already.

    What reading raises is raised here, after the items before it. A caller that stops early ends the reading.
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
