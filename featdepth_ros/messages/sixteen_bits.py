"""Conversion of 16-bit images to 8 bits, for messages, bags and files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Numbers of bits that sensors use within 16-bit pixels.
_SENSOR_BITS = (10, 12, 14, 16)
#: Number of sampled pixels for the range; more do not improve it.
_SAMPLE = 20_000
#: Range of values from which a grey image needs no stretching.
_ENOUGH = 1 << 14
#: Range of values below which an image has no contrast but only noise.
_NO_CONTRAST = 16
#: Smallest range that is stretched to 8 bits; a smaller one would amplify noise.
_LEAST_RANGE = 256


def eight_bits(words: NDArray[np.uint16], grey: bool) -> NDArray[np.uint8]:
    """Return a 16-bit image as 8 bits, with its used range of values stretched to 0 to 255.

    Infrared and thermal cameras use 10 to 14 bits, and thermal ones a narrow range far from zero. Divided by 257, their
    images would be black. The range covers the image's dark and bright values without half a percent at either end. It
    is widened to a coarse grid of powers of two, so that it does not change from frame to frame. An image that uses a
    quarter of the 16-bit range, or that has no contrast, is divided by 257. For colours only the number of bits is
    detected (10, 12, 14 or 16), and zero stays zero.

    Args:
        words: (H, W) or (H, W, C) uint16 of any byte order.
        grey: True for one channel of brightness, False for colours and Bayer patterns.

    Returns:
        uint8 image of the same shape.
    """
    stride = max(1, int(np.sqrt(words.size / _SAMPLE)))
    dark, bright = np.percentile(words[::stride, ::stride], (0.5, 99.5))
    first, size = _grey_range(float(dark), float(bright)) if grey else (0, _colour_range(float(bright)))
    if size >= 1 << 16:
        return ((words.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    # A lookup table of all values is cheaper than arithmetic on all pixels.
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
