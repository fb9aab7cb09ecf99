"""Reliable handling of Ctrl-C: a KeyboardInterrupt in the main thread that is never lost.

Python raises KeyboardInterrupt between any two instructions, and it can get lost. A destructor or a weak-reference
callback cannot propagate it, and each import has such callbacks. C code that imports modules turns it into other
errors. And a lock that was just acquired may never be released, so that other threads hang.
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

#: Delay before a deferred or lost interrupt is repeated, and the longest deferral, seconds.
_AGAIN_S, _PATIENCE_S = 0.1, 3.0
#: Number of interrupts that end the deferral of `held`.
_ENOUGH = 3
_IMPORTS = "<frozen importlib._bootstrap>"


@contextmanager
def interruptible() -> Iterator[None]:
    """Make SIGINT a KeyboardInterrupt that is never lost, for a whole program.

    During an import it is deferred to the import's end, for `_PATIENCE_S` at most. After that it is raised until the
    import ends. If a destructor or a callback swallows it, it is raised again. Other threads are not affected. Nothing
    changes if SIGINT is ignored (a background job) or has another handler.
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
        if signal.getsignal(signal.SIGINT) == handler.on_signal:  # during an exit it may already be ignored
            signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = hook


class _Handler:
    """Signal handler of `interruptible`."""

    def __init__(self, hook: Callable[[Any], object]) -> None:
        self._hook = hook
        self._waiting_since: float | None = None
        self._forced = self.over = False

    def on_signal(self, _number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not _imports(frame):
            came_through, self._forced = self._forced, False
            self._waiting_since = None
            if came_through:  # it was already raised in the import, and only cleanup is left
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
        """Send SIGINT to the main thread after a delay, without any lock, because the main thread may hold it."""
        with suppress(RuntimeError):  # the interpreter is ending
            _thread.start_new_thread(self._send, ())

    def _send(self) -> None:
        time.sleep(_AGAIN_S)
        main = threading.main_thread().ident
        if main is not None and not self.over:
            with suppress(OSError):
                signal.pthread_kill(main, signal.SIGINT)


def _imports(frame: FrameType | None) -> bool:
    """Return whether a stack frame is part of an import."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False


@contextmanager
def held() -> Iterator[None]:
    """Defer SIGINT to the end of the block; in other threads it has no effect.

    Use it for blocks of at most some seconds that an exception must not interrupt. It could leave a process half
    started, or a lock acquired. The third signal is no longer deferred.
    """
    old = signal.getsignal(signal.SIGINT)
    if not _in_main_thread() or old is None:  # None: the handler was not installed from Python
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
