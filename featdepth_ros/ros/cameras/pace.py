"""Images at no more than a wanted rate, evenly chosen by their stamps."""

from __future__ import annotations

#: An image this much (of the period) before its time is taken: cameras jitter.
_EARLY = 0.1


class Pace:
    """Tells which images of a stream are to be taken."""

    def __init__(self) -> None:
        self._due_ns: int | None = None

    def is_due(self, stamp_ns: int, rate_hz: float) -> bool:
        """Return whether an image with this stamp is to be taken.

        On average ``rate_hz`` images a second are, also where the camera's own rate is no multiple of it.

        Args:
            stamp_ns: of the image; one that goes back starts anew.
            rate_hz: most images a second; 0: all.
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
