"""Progress display on stderr: a bar of tqdm on a terminal, elsewhere one line per minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable, Sized
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

#: Interval between two lines without a bar, seconds.
LINE_EVERY_S = 60.0


class ProgressBar:
    """Counts finished units and shows them on stderr. It is a context manager, closed at the end of its block.

    tqdm is imported for the first bar. Without tqdm, or if stderr is not a terminal, lines replace the bar, so that the
    log of a long run shows its progress.

    Args:
        label: name of the task, in one or two words.
        total: number of units; None if it is unknown.
        unit: name of the unit (``frame``, ``msg``, ``step``).
        done: number of units that an interrupted run has already finished.
        shown: whether the progress is shown.

    Attributes:
        done: number of units finished so far.
    """

    def __init__(
        self, label: str, total: int | None = None, unit: str = "frame", *, done: int = 0, shown: bool = True
    ) -> None:
        self.done = done
        self._label, self._total, self._unit, self._shown = label, total, unit, shown
        self._status = ""
        self._next_line_s = time.monotonic() + LINE_EVERY_S
        self._bar = _terminal_bar(label, total, unit, done) if shown else None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update(self, count: int = 1) -> None:
        """Count ``count`` more units as done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._shown and time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + LINE_EVERY_S
            total = "" if self._total is None else f"/{self._total}"
            status = f", {self._status}" if self._status else ""
            print(f"{self._label}: {self.done}{total} {self._unit}{status}", file=sys.stderr, flush=True)

    def status(self, text: str) -> None:
        """Show a text after the count (a loss, a rate) until the next one."""
        self._status = text
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def write(self, text: str) -> None:
        """Print a line to stdout without disturbing the bar."""
        if self._bar is not None:
            self._bar.write(text)
        elif self._shown:
            print(text, flush=True)

    def close(self) -> None:
        """Close the bar; later output appears below it."""
        if self._bar is not None:
            self._bar.close()


def progress(items: Iterable[T], label: str, total: int | None = None, unit: str = "frame") -> Generator[T, None, None]:
    """Yield the items with a `ProgressBar`, which is closed after the last one or with the generator."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with ProgressBar(label, total, unit) as bar:
        for item in items:
            yield item
            bar.update()


def _terminal_bar(label: str, total: int | None, unit: str, done: int) -> Any:
    """Return a bar of tqdm; None without tqdm or without a terminal."""
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(desc=label, total=total, initial=done, unit=unit, dynamic_ncols=True, file=sys.stderr)
