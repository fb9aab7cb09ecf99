"""What the node counts and measures; written by its threads, read by diagnostics."""

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
        received: images that arrived.
        processed: images that gave an estimate.
        dropped: images that a newer one replaced before they were processed.
        rejected: images (or their calibration) that were malformed, or failed inside.
        skipped: images left out on purpose: stamp seen already, waiting for camera_info.
        time_jumps: times the stamps or the clock went back.
        last_error: text of the last rejection; empty when the last image was fine.
        silent_s: seconds since the last image arrived (or since activation).
        unused_s: seconds since the last one was worked on, well or not (or since activation).
        left_out: why the newest images are left out, in words; empty: they are not, or somebody wants it so.
        busy_s: seconds the image in work has been in work; 0 when none is.
        rate_hz: estimates per second of the last seconds.
        latency_ms: median from arrival to the end of publishing.
        age_ms: stamp to the end of publishing, of the last frame, by the node's clock; None before the first.
        stage_ms: of the last frame.
        recent: images that came to an end in the last seconds, one way or the other.
        troubles: how often what was wrong with them, by name: ``rejected``, ``lost``, ``blind``, ``frozen``...
        trouble: the newest of these in words.
        totals: the same since the start.
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
        """Start the silence count: the node begins to listen."""
        with self._lock:
            self._last_arrival = self._last_used = time.monotonic()

    def image_arrived(self, replaced: bool) -> None:
        """Count an image; ``replaced`` when an unprocessed one was dropped for it."""
        with self._lock:
            self._last_arrival = time.monotonic()
            self._now = replace(self._now, received=self._now.received + 1, dropped=self._now.dropped + int(replaced))

    def work_started(self) -> None:
        """An image is in work from now on."""
        with self._lock:
            self._started = time.monotonic()

    def work_ended(self) -> None:
        """No image is in work."""
        with self._lock:
            self._started = None

    def image_rejected(self, error: str) -> None:
        """Count a malformed image."""
        with self._lock:
            self._note("rejected", error)
            self._now = replace(self._now, rejected=self._now.rejected + 1, last_error=error, left_out="")

    def image_skipped(self, reason: str = "") -> None:
        """Count an image left out on purpose; the reason in words where it is a fault if it goes on."""
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
        """Count a published frame, and what is wrong with it: a name and words, empty where nothing is."""
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
        """Return all figures as of now."""
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
