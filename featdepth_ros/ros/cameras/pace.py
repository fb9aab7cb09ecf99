"""Limits the rate of images: chooses them evenly by their stamps."""

from __future__ import annotations

#: An image may come early by this share of the period, because cameras jitter.
_EARLY = 0.1


class Pace:
    """Chooses the images of a stream that are processed."""

    def __init__(self) -> None:
        self._due_ns: int | None = None

    def is_due(self, stamp_ns: int, rate_hz: float) -> bool:
        """Return whether to process an image with this stamp.

        On average ``rate_hz`` images per second are chosen, even if the camera's rate is no multiple of it.

        Args:
            stamp_ns: stamp of the image, nanoseconds; a step back restarts the count.
            rate_hz: largest number of images per second; 0: all images.
        """
        if rate_hz <= 0:
            return True
        period = round(1e9 / rate_hz)
        due = self._due_ns
        if due is not None and due - 2 * period < stamp_ns < due - _EARLY * period:
            return False
        late = due is None or abs(stamp_ns - due) > period  # a start, a pause or a jump
        self._due_ns = stamp_ns + period if late or due is None else due + period
        return True
