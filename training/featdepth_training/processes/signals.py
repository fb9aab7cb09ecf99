"""SIGINT and SIGTERM ask a run to stop after the step at hand; a second one stops it at once.

At once means at the next moment at which nothing is half done. While a checkpoint is written, or the optimiser moves
the weights, the second signal waits.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType

#: A signal this soon after the first is the same wish: torchrun passes on what the terminal has sent to everyone.
SAME_WISH_S = 2.0


class _Held:
    """What a second signal waits for."""

    writing = 0
    moving = False
    wanted = False


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a second signal wait until the block has ended; then it is a KeyboardInterrupt."""
    _Held.writing += 1
    try:
        yield
    finally:
        _Held.writing -= 1
        _raise_if_wanted()


def hold() -> None:
    """Let a second signal wait until `release`: the weights move, and what counts them must move along."""
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
    """Write a line to stderr, past any buffer: the program may be in the middle of a print."""
    with suppress(OSError):
        os.write(2, f"\n{text}\n".encode())


class StopRequest:
    """Context manager; ``requested`` is the signal's name once one came. Outside the main thread it does nothing."""

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
            _tell(f"{self.requested}: stopping after this step, then saving; once more stops without the step")
        elif now - self._since > SAME_WISH_S:
            _Held.wanted = True
            if _Held.writing:
                _tell("what is being written is finished first")
            _raise_if_wanted()


def leave_signals_to_parent(_worker: int) -> None:
    """Let a loader process ignore SIGINT, which its parent answers, and end quietly on SIGTERM.

    SIGTERM it must obey: that is how its parent ends it. A parent that has SIGTERM of its own stops for that reason.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
