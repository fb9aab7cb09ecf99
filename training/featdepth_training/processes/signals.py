"""SIGINT and SIGTERM request a stop after the current step; a second signal stops the run at once.

At once means at the next consistent state: the second signal waits while a checkpoint is written, or while the
optimiser changes the weights.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType

#: Seconds after a signal in which another one is the same request, because torchrun forwards the terminal's signal.
SAME_WISH_S = 2.0


class _Held:
    """State that delays a second signal."""

    writing = 0
    moving = False
    wanted = False


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay a second signal until the end of the block, where it raises KeyboardInterrupt."""
    _Held.writing += 1
    try:
        yield
    finally:
        _Held.writing -= 1
        _raise_if_wanted()


def hold() -> None:
    """Delay a second signal until `release`, so that weights and step count stay consistent."""
    _Held.moving = True


def release() -> None:
    """End what `hold` began.

    Raises:
        KeyboardInterrupt: a second signal has come since.
    """
    _Held.moving = False
    _raise_if_wanted()


def _raise_if_wanted() -> None:
    if _Held.wanted and not _Held.writing and not _Held.moving:
        _Held.wanted = False
        raise KeyboardInterrupt


def _tell(text: str) -> None:
    """Write a line to stderr without a buffer, because the program may be inside a print."""
    with suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


class StopRequest:
    """A context manager that catches signals; ``requested`` is the name of the signal that arrived.

    Outside the main thread it does nothing.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        self._since = 0.0
        self._old: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        _Held.writing, _Held.moving, _Held.wanted = 0, False, False
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
            _tell(f"{self.requested}: stopping after this step, then saving; a second signal stops at once")
        elif now - self._since > SAME_WISH_S:
            _Held.wanted = True
            if _Held.writing:
                _tell("what is being written is finished first")
            _raise_if_wanted()


def leave_signals_to_parent(_worker: int) -> None:
    """Make a loader process ignore SIGINT, which its parent handles, and end quietly on SIGTERM.

    It must react to SIGTERM, with which its parent ends it. A SIGTERM to the parent stops the run itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
