"""Decoding of image files (PNG, JPEG, ...) to arrays, with a check for truncation."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError
from featdepth_ros.messages.sixteen_bits import eight_bits

#: A marker of a JPEG: 0xFF without a stuffing zero and without a restart marker.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_PNG_START = b"\x89PNG\r\n\x1a\n"


def decode_image(data: bytes | NDArray[np.uint8], upright: bool = True) -> NDArray[np.uint8]:
    """Decode a PNG, JPEG, ... to (H, W, 3) uint8 RGB; grey is repeated, alpha is dropped.

    16 bits are converted to 8 by `eight_bits`. Data after the image's end (the video of a motion photo) are ignored.

    Args:
        data: the file's bytes.
        upright: rotate the image by its EXIF orientation. With False it stays in the sensor's orientation, to which a
            calibration belongs.

    Raises:
        ImageError: the data are not an image, or a truncated JPEG or PNG (decoders would fill the rest with grey).
    """
    buffer = _whole(data)
    flags = cv2.IMREAD_COLOR | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    bgr = _decoded(buffer, flags | cv2.IMREAD_ANYDEPTH)
    if bgr.dtype == np.uint16:
        grey = np.array_equal(bgr[..., 0], bgr[..., 1]) and np.array_equal(bgr[..., 0], bgr[..., 2])
        bgr = eight_bits(bgr, grey)
    elif bgr.dtype != np.uint8:
        bgr = _decoded(buffer, flags)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def decode_mosaic(data: bytes | NDArray[np.uint8], to_rgb: int) -> NDArray[np.uint8]:
    """Decode the image of a Bayer mosaic to (H, W, 3) uint8 RGB.

    Args:
        data: the file's bytes.
        to_rgb: OpenCV's conversion of the pattern. It is not applied to an image that already has colours.

    Raises:
        ImageError: see `decode_image`.
    """
    mosaic = _decoded(_whole(data), cv2.IMREAD_UNCHANGED)
    if mosaic.ndim != 2 or mosaic.dtype not in (np.uint8, np.uint16):
        return decode_image(data, upright=False)
    if mosaic.dtype == np.uint16:
        mosaic = eight_bits(mosaic, grey=False)
    return np.asarray(cv2.cvtColor(mosaic, to_rgb), dtype=np.uint8)


def _whole(data: bytes | NDArray[np.uint8]) -> NDArray[np.uint8]:
    buffer = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    if buffer.size == 0:
        raise ImageError("the image is empty (0 bytes)")
    content = buffer.tobytes()
    if (content.startswith(b"\xff\xd8") and not _jpeg_ends(content)) or (
        content.startswith(_PNG_START) and not _png_ends(content)
    ):
        raise ImageError(f"the image ends early ({buffer.size} bytes without an end marker)")
    return buffer


def _decoded(buffer: NDArray[np.uint8], flags: int) -> NDArray[Any]:
    try:
        image = cv2.imdecode(buffer, flags)
    except cv2.error as error:
        raise ImageError(f"the image cannot be decoded: {error.err}") from error
    if image is None:
        raise ImageError(f"the {buffer.size} bytes are not an image that can be decoded; expected a PNG or JPEG file")
    return np.asarray(image)


def _jpeg_ends(content: bytes) -> bool:
    """Return whether a JPEG has its end marker. Its segments are parsed, since a thumbnail has its own end marker."""
    if content.rstrip(b"\0").endswith(b"\xff\xd9"):  # cameras pad their JPEG buffers
        return True
    position = 2
    while (match := _MARKER.search(content, position)) is not None:
        if match[1] == b"\xd9":
            return True
        length = int.from_bytes(content[match.end() : match.end() + 2], "big")
        position = match.end() + (0 if match[1] in (b"\x01", b"\xd8") else max(length, 2))  # these two have no length
    return False


def _png_ends(content: bytes) -> bool:
    """Return whether a PNG has its last chunk, IEND."""
    position = len(_PNG_START)
    while position + 12 <= len(content):  # length, name, data, checksum
        name = content[position + 4 : position + 8]
        position += 12 + int.from_bytes(content[position : position + 4], "big")
        if name == b"IEND":
            return position <= len(content)
    return False
