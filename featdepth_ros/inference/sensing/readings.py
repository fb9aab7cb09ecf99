"""A buffer of sensor readings by stamp, with queries between two stamps. Two threads may add and query at once."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Nanoseconds by which a stamp goes back when the clock jumped or a recording restarted, which clears the buffer.
_JUMP_NS = 1_000_000_000
#: Default number of kept readings: more than a minute of a fast gyroscope.
KEPT = 20_000


@dataclass(frozen=True)
class Stretch:
    """Readings over an interval of time, including its ends.

    Attributes:
        seconds: (N,) float64 times since the beginning of the interval, N >= 2.
        values: (N, width) float64; at the ends interpolated, or those of the nearest reading.
        variance: mean variance of a component of a reading.
        held_s: seconds at the ends of the interval without readings.
    """

    seconds: Floats
    values: Floats
    variance: float
    held_s: float

    def mean(self) -> Floats:
        """(width,) mean over the interval, with linear interpolation between readings."""
        steps = np.diff(self.seconds)[:, None]
        return np.asarray((0.5 * (self.values[1:] + self.values[:-1]) * steps).sum(0) / self.seconds[-1])


class Readings:
    """The readings of one sensor in order of their stamps.

    Args:
        width: number of components of a reading.
        longest_gap_s: longest time in seconds between two readings, and from the last one to the end of an interval.
        most: largest number of readings; above it, the older half is removed.
    """

    def __init__(self, width: int, longest_gap_s: float, most: int = KEPT) -> None:
        self._width, self._gap_ns, self._most = width, round(longest_gap_s * 1e9), most
        self._lock = threading.Lock()
        self._stamps: list[int] = []
        self._rows: list[Floats] = []

    def __len__(self) -> int:
        return len(self._stamps)

    def add(self, stamp_ns: int, values: Floats, variance: float) -> None:
        """Add a reading. One that is not finite, or not later than the last one, is ignored.

        Args:
            stamp_ns: middle of the measured interval, nanoseconds.
            values: (width,) float64 components.
            variance: variance of each component.
        """
        row = np.append(np.asarray(values, dtype=np.float64), variance)
        if row.shape != (self._width + 1,) or not np.isfinite(row).all():
            return
        with self._lock:
            if self._stamps and stamp_ns <= self._stamps[-1]:
                if self._stamps[-1] - stamp_ns < _JUMP_NS:
                    return
                self._stamps, self._rows = [], []
            self._stamps.append(stamp_ns)
            self._rows.append(row)
            if len(self._stamps) > self._most:
                self._stamps, self._rows = self._stamps[self._most // 2 :], self._rows[self._most // 2 :]

    def between(self, earlier_ns: int, later_ns: int) -> Stretch | None:
        """Return the readings of an interval; None if readings are missing. It never waits.

        Args:
            earlier_ns: beginning of the interval.
            later_ns: end of the interval, after its beginning.
        """
        with self._lock:
            first = max(bisect_right(self._stamps, earlier_ns) - 1, 0)
            last = bisect_left(self._stamps, later_ns) + 1
            stamps, rows = np.array(self._stamps[first:last], dtype=np.int64), np.array(self._rows[first:last])
        if later_ns <= earlier_ns or not len(stamps):
            return None
        before, behind = max(int(stamps[0]) - earlier_ns, 0), max(later_ns - int(stamps[-1]), 0)
        if max(before, behind, *np.diff(stamps)) > self._gap_ns:
            return None
        seconds = (stamps - earlier_ns) * 1e-9
        end = (later_ns - earlier_ns) * 1e-9
        inside = (seconds > 0) & (seconds < end)
        times = np.concatenate([[0.0], seconds[inside], [end]])
        values = np.stack([np.interp(times, seconds, rows[:, k]) for k in range(self._width)], axis=1)
        return Stretch(times, values, float(rows[:, -1].mean()), (before + behind) * 1e-9)
