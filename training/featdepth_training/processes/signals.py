"""SIGINT and SIGTERM ask a run to stop after the step at hand; a second one stops it at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType

#: A signal this soon after the first is the same wish: torchrun passes on what the terminal has sent to everyone.
SAME_WISH_S = 2.0


class StopRequest:
    """Context manager; ``requested`` is the signal's name once one came. Outside the main thread it does nothing."""

    def __init__(self) -> None:
        self.requested: str | None = None
        self._since = 0.0
        self._old: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.requested is None:
            self.requested, self._since = signal.Signals(number).name, now
        elif now - self._since > SAME_WISH_S:
            raise KeyboardInterrupt


def leave_signals_to_parent(_worker: int) -> None:
    """Let a loader process ignore SIGINT, which its parent answers, and end quietly on SIGTERM.

    SIGTERM it must obey: that is how its parent ends it. A parent that has SIGTERM of its own stops for that reason.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
