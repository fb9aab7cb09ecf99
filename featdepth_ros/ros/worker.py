"""One slot a source, one thread: the newest frames wait, older ones are dropped, nothing queues."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestItemsWorker(Generic[Item]):
    """Runs ``process({source: item})`` on its own thread with the newest item of every source that has one.

    A batch is whatever waits when the thread is free: no source is waited for.

    ``process`` must not raise; what it raises ends the process by the default hook, so catch inside.
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
        """Store an item as the newest of its source. Returns True when one that nobody had taken yet was dropped."""
        with self._condition:
            dropped = source in self._items
            self._items[source] = item
            self._condition.notify()
        return dropped

    def stop(self, timeout_s: float) -> bool:
        """Forget what waits, let the present batch finish. Returns False when that took longer than the timeout."""
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
            del items  # frames must not stay in memory until the next ones come
