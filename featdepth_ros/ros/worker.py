"""One slot, one thread: the newest frame waits, older ones are dropped, nothing queues."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestItemWorker(Generic[Item]):
    """Runs ``process(item)`` on its own thread, always with the newest item offered.

    ``process`` must not raise; what it raises ends the process by the default hook, so catch inside.
    """

    def __init__(self, process: Callable[[Item], None], name: str) -> None:
        self._process = process
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, item: Item) -> bool:
        """Store an item as the newest. Returns True when one that nobody had taken yet was dropped for it."""
        with self._condition:
            dropped = self._item is not None
            self._item = item
            self._condition.notify()
        return dropped

    def stop(self, timeout_s: float) -> bool:
        """Forget the waiting item, let the present one finish. Returns False when that took longer than the timeout."""
        with self._condition:
            self._stopping = True
            self._item = None
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopping or self._item is not None)
                if self._stopping:
                    return
                item, self._item = self._item, None
            if item is not None:
                self._process(item)
                del item  # a frame must not stay in memory until the next one comes
