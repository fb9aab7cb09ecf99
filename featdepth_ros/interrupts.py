"""Ctrl-C that is never lost: a KeyboardInterrupt in the main thread, at a moment when it comes through.

Python raises it between any two instructions. In some places it then vanishes. A destructor or a callback of a weak
reference cannot pass it on; each import has such callbacks. C code that imports turns it into other errors. And a lock
that was just taken is never given back, so that whoever waits for it hangs.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

#: After how long an interrupt that had to wait, or was lost, is tried again, and when it waits no longer, seconds.
_AGAIN_S, _PATIENCE_S = 0.1, 3.0
#: So many interrupts while one is held end the wait: whoever presses Ctrl-C that often means it.
_ENOUGH = 3
_IMPORTS = "<frozen importlib._bootstrap>"


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT be a KeyboardInterrupt that comes through; for the whole of a program.

    Within an import it waits for the import's end, `_PATIENCE_S` at most, and is then raised until the import ends. One
    that a destructor or a callback has swallowed is raised again. Nothing changes in other threads, and where SIGINT is
    ignored (a job in the background) or answered by someone else.
    """
    if not _in_main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    hook = sys.unraisablehook
    handler = _Handler(hook)
    try:
        sys.unraisablehook = handler.on_unraisable
        signal.signal(signal.SIGINT, handler.on_signal)
        yield
    finally:
        handler.over = True
        if signal.getsignal(signal.SIGINT) == handler.on_signal:  # whoever is leaving undisturbed may have it ignored
            signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = hook


class _Handler:
    """What `interruptible` does with a signal."""

    def __init__(self, hook: Callable[[Any], object]) -> None:
        self._hook = hook
        self._waiting_since: float | None = None
        self._forced = self.over = False

    def on_signal(self, _number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not _imports(frame):
            came_through, self._forced = self._forced, False
            self._waiting_since = None
            if came_through:  # of the import that it was raised in; what it ends is tidying up
                return
            raise KeyboardInterrupt
        if self._waiting_since is None:
            self._waiting_since = now
        self._forced = now - self._waiting_since > _PATIENCE_S
        self._send_again()
        if self._forced:
            raise KeyboardInterrupt

    def on_unraisable(self, what: Any) -> None:
        if what.exc_type is not None and issubclass(what.exc_type, KeyboardInterrupt):
            self._send_again()
        else:
            self._hook(what)

    def _send_again(self) -> None:
        """Send SIGINT to the main thread a moment later. No lock is taken: the main thread may hold any of them."""
        with suppress(RuntimeError):  # the interpreter is ending
            _thread.start_new_thread(self._send, ())

    def _send(self) -> None:
        time.sleep(_AGAIN_S)
        main = threading.main_thread().ident
        if main is not None and not self.over:
            with suppress(OSError):
                signal.pthread_kill(main, signal.SIGINT)


def _imports(frame: FrameType | None) -> bool:
    """Whether a frame is part of an import."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False


@contextmanager
def held() -> Iterator[None]:
    """Let SIGINT wait until the block has ended, and then do what it would have done. In other threads nothing.

    For blocks of some seconds at most, in which an exception between two instructions does harm. A process is half
    started then, or a lock is taken and not given back. The third signal waits no longer.
    """
    old = signal.getsignal(signal.SIGINT)
    if not _in_main_thread() or old is None:  # None: not of Python
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) >= _ENOUGH and callable(old):
            old(number, frame)

    try:
        signal.signal(signal.SIGINT, note)
        yield
    finally:
        signal.signal(signal.SIGINT, old)
        if came:
            signal.raise_signal(signal.SIGINT)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
