"""Counters and times of the node, which its threads update and diagnostics read."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Snapshot:
    """All figures at one moment.

    Attributes:
        received: number of images that arrived.
        processed: number of images that gave an estimate.
        dropped: number of images that a newer one replaced before they were processed.
        rejected: number of images that were malformed (or their calibration), or whose processing failed.
        skipped: number of images left out on purpose: repeated stamp, waiting for camera_info.
        time_jumps: how often the stamps or the clock went back.
        last_error: text of the last rejection; empty if the last image was accepted.
        silent_s: seconds since the last image arrived (or since activation).
        unused_s: seconds since the last image was processed or rejected (or since activation).
        left_out: why the newest images are left out; empty: they are not, or a parameter requests it.
        busy_s: seconds since the processing of the current image began; 0 if there is none.
        rate_hz: estimates per second in the last seconds.
        latency_ms: median time from arrival to the end of publishing.
        age_ms: time from the stamp of the last frame to the end of its publishing, by the node's clock; None before it.
        stage_ms: duration of each stage for the last frame.
        recent: number of images that were finished or rejected in the last seconds.
        troubles: number of problems among them, by name: ``rejected``, ``lost``, ``blind``, ``frozen``...
        trouble: the newest of these problems as a sentence.
        totals: number of problems since the start, by name.
    """

    received: int = 0
    processed: int = 0
    dropped: int = 0
    rejected: int = 0
    skipped: int = 0
    time_jumps: int = 0
    last_error: str = ""
    silent_s: float = 0.0
    unused_s: float = 0.0
    left_out: str = ""
    busy_s: float = 0.0
    rate_hz: float = 0.0
    latency_ms: float | None = None
    age_ms: float | None = None
    stage_ms: dict[str, float] = field(default_factory=dict)
    recent: int = 0
    troubles: dict[str, int] = field(default_factory=dict)
    trouble: str = ""
    totals: dict[str, int] = field(default_factory=dict)


class Statistics:
    """Thread-safe counters and a window of recent frames."""

    WINDOW_S = 5.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = Snapshot()
        self._last_arrival = self._last_used = time.monotonic()
        self._started: float | None = None
        self._finished: deque[tuple[float, float]] = deque(maxlen=512)  # (monotonic s, latency ms)
        self._outcomes: deque[tuple[float, str, str]] = deque(maxlen=2048)  # (monotonic s, trouble, its words)
        self._totals: Counter[str] = Counter()

    def watch_from_now(self) -> None:
        """Restart the times since the last image, because the node begins to listen."""
        with self._lock:
            self._last_arrival = self._last_used = time.monotonic()

    def image_arrived(self, replaced: bool) -> None:
        """Count an image; ``replaced``: an unprocessed image was dropped for it."""
        with self._lock:
            self._last_arrival = time.monotonic()
            self._now = replace(self._now, received=self._now.received + 1, dropped=self._now.dropped + int(replaced))

    def work_started(self) -> None:
        """Record that the processing of an image begins."""
        with self._lock:
            self._started = time.monotonic()

    def work_ended(self) -> None:
        """Record that the processing of an image ends."""
        with self._lock:
            self._started = None

    def image_rejected(self, error: str) -> None:
        """Count a malformed image; ``error`` says what is wrong."""
        with self._lock:
            self._note("rejected", error)
            self._now = replace(self._now, rejected=self._now.rejected + 1, last_error=error, left_out="")

    def image_skipped(self, reason: str = "") -> None:
        """Count an image left out on purpose; ``reason`` is given if that is a fault when it continues."""
        with self._lock:
            self._now = replace(self._now, skipped=self._now.skipped + 1, left_out=reason)

    def time_jumped(self) -> None:
        """Count a step back in time."""
        with self._lock:
            self._note("time jump", "stamps went back")
            self._now = replace(self._now, time_jumps=self._now.time_jumps + 1)

    def _note(self, trouble: str, words: str) -> None:
        self._last_used = time.monotonic()
        self._outcomes.append((self._last_used, trouble, words))
        if trouble:
            self._totals[trouble] += 1

    def image_processed(
        self, latency_ms: float, age_ms: float, stage_ms: dict[str, float], trouble: str = "", words: str = ""
    ) -> None:
        """Count a published frame.

        Args:
            latency_ms: time from its arrival to the end of publishing.
            age_ms: time from its stamp to the end of publishing.
            stage_ms: duration of each stage.
            trouble: name of a problem of the frame; empty: none.
            words: the problem as a sentence.
        """
        with self._lock:
            self._note(trouble, words)
            self._finished.append((time.monotonic(), latency_ms))
            self._now = replace(
                self._now,
                processed=self._now.processed + 1,
                last_error="",
                left_out="",
                age_ms=age_ms,
                stage_ms=dict(stage_ms),
            )

    def snapshot(self) -> Snapshot:
        """Return all current figures."""
        now = time.monotonic()
        with self._lock:
            recent = [(t, latency) for t, latency in self._finished if now - t <= self.WINDOW_S]
            rate = 0.0
            if len(recent) > 1 and recent[-1][0] > recent[0][0]:
                rate = (len(recent) - 1) / (recent[-1][0] - recent[0][0])
            latency_ms = float(np.median([latency for _, latency in recent])) if recent else None
            outcomes = [(name, words) for t, name, words in self._outcomes if now - t <= self.WINDOW_S]
            wrong = [(name, words) for name, words in outcomes if name]
            return replace(
                self._now,
                recent=len(outcomes),
                troubles=dict(Counter(name for name, _ in wrong)),
                trouble=wrong[-1][1] if wrong else "",
                totals=dict(self._totals),
                silent_s=now - self._last_arrival,
                unused_s=now - self._last_used,
                busy_s=0.0 if self._started is None else now - self._started,
                rate_hz=rate,
                latency_ms=latency_ms,
            )
