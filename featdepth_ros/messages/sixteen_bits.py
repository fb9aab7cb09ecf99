"""Pictures of 16 bits to 8: the one place, for messages, bags and files alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Bits that sensors fill: what a container of 16 holds in truth.
_SENSOR_BITS = (10, 12, 14, 16)
#: Pixels looked at to find the range; more do not make it better.
_SAMPLE = 20_000
#: A grey picture that uses so many of its 65536 values shows enough as it is.
_ENOUGH = 1 << 14
#: Fewer values than this between dark and bright are noise of a picture without contrast.
_NO_CONTRAST = 16
#: Smallest range that is spread over 8 bits: a finer one would spread noise.
_LEAST_RANGE = 256


def eight_bits(words: NDArray[np.uint16], grey: bool) -> NDArray[np.uint8]:
    """Return a picture of 16 bits with the range that it uses spread over 8.

    Infrared and thermal cameras fill 10 to 14 bits, and thermal ones a narrow band far from zero; divided by 257 they
    would be black. The range starts at the picture's own dark and bright values, with half a percent at either end
    left out. It goes out to a coarse grid of powers of two. So it stays the same from frame to frame. A picture that
    uses a
    quarter of the 16 bits, or shows nothing at all, is divided by 257. Colours keep their zero: only the number of
    bits is found (10, 12, 14 or 16).

    Args:
        words: (H, W) or (H, W, C) uint16 of any byte order.
        grey: one channel of brightness; False for colours and Bayer patterns.

    Returns:
        uint8 of the same shape.
    """
    stride = max(1, int(np.sqrt(words.size / _SAMPLE)))
    dark, bright = np.percentile(words[::stride, ::stride], (0.5, 99.5))
    first, size = _grey_range(float(dark), float(bright)) if grey else (0, _colour_range(float(bright)))
    if size >= 1 << 16:
        return ((words.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    # A table of all values is cheaper than arithmetic on all pixels.
    values = (np.arange(1 << 16) - first) * (255.0 / (size - 1))
    table: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.take(table, words)


def _grey_range(dark: float, bright: float) -> tuple[int, int]:
    """Return (first value, number of values), the number a power of two."""
    span = bright - dark
    if span < _NO_CONTRAST or span >= _ENOUGH:
        return 0, 1 << 16
    size = max(_LEAST_RANGE, 1 << int(np.ceil(np.log2(span))))
    while True:
        step = size // 4
        first = int(dark // step) * step
        if first + size > bright:
            return first, size
        size *= 2


def _colour_range(bright: float) -> int:
    return next((1 << bits for bits in _SENSOR_BITS if bright < 1 << bits), 1 << 16)
