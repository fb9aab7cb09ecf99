"""A worker thread with one slot per source: the newest frame waits, older ones are dropped, nothing queues."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestItemsWorker(Generic[Item]):
    """Calls ``process({source: item})`` on its own thread, with the newest item of every source that has one.

    A batch consists of the items that wait when the thread is free. The thread does not wait for further sources.

    ``process`` must not raise: an exception would end the thread.
    """

    def __init__(self, process: Callable[[dict[str, Item]], None], name: str) -> None:
        self._process = process
        self._condition = threading.Condition()
        self._items: dict[str, Item] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, source: str, item: Item) -> bool:
        """Store an item as the newest of its source. Returns True if an unprocessed one was dropped for it."""
        with self._condition:
            dropped = source in self._items
            self._items[source] = item
            self._condition.notify()
        return dropped

    def stop(self, timeout_s: float) -> bool:
        """Drop waiting items and wait for the current batch. Returns False if that takes longer than ``timeout_s``."""
        with self._condition:
            self._stopping = True
            self._items.clear()
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopping or bool(self._items))
                if self._stopping:
                    return
                items, self._items = self._items, {}
            self._process(items)
            del items  # frames must not stay in memory until the next ones arrive
