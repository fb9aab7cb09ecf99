"""Encoded pictures (PNG, JPEG, ...) to arrays, with a check for truncation."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError
from featdepth_ros.messages.sixteen_bits import eight_bits

#: A marker of a JPEG: 0xFF, no stuffing zero, no restart mark.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_PNG_START = b"\x89PNG\r\n\x1a\n"


def decode_image(data: bytes | NDArray[np.uint8], upright: bool = True) -> NDArray[np.uint8]:
    """Decode a PNG, JPEG, ... into (H, W, 3) uint8 RGB; grey is repeated, alpha is dropped.

    16 bits become 8 as in `eight_bits`. What lies behind the image's end (the film of a motion photo) is left alone.

    Args:
        data: the file's bytes.
        upright: turn the image as its EXIF mark says; False leaves the sensor's rows, which a calibration means.

    Raises:
        ImageError: not an image, or a JPEG or PNG that ends early (decoders would fill the rest with grey).
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
    """Decode the picture of a Bayer mosaic into (H, W, 3) uint8 RGB.

    Args:
        data: the file's bytes.
        to_rgb: OpenCV's conversion of the pattern. A picture with colours has none: it is taken as it is.

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
        raise ImageError(f"the image ends early ({buffer.size} bytes, no end marker)")
    return buffer


def _decoded(buffer: NDArray[np.uint8], flags: int) -> NDArray[Any]:
    try:
        image = cv2.imdecode(buffer, flags)
    except cv2.error as error:
        raise ImageError(f"the image cannot be decoded: {error.err}") from error
    if image is None:
        raise ImageError(f"the {buffer.size} bytes are no image that can be decoded")
    return np.asarray(image)


def _jpeg_ends(content: bytes) -> bool:
    """Walk through a JPEG's segments to its end marker; a thumbnail inside has an end marker of its own."""
    if content.rstrip(b"\0").endswith(b"\xff\xd9"):  # cameras pad their JPEG buffers
        return True
    position = 2
    while (match := _MARKER.search(content, position)) is not None:
        if match[1] == b"\xd9":
            return True
        length = int.from_bytes(content[match.end() : match.end() + 2], "big")
        position = match.end() + (0 if match[1] in (b"\x01", b"\xd8") else max(length, 2))  # these two stand alone
    return False


def _png_ends(content: bytes) -> bool:
    """Walk through a PNG's chunks to the last one, IEND."""
    position = len(_PNG_START)
    while position + 12 <= len(content):  # length, name, data, checksum
        name = content[position + 4 : position + 8]
        position += 12 + int.from_bytes(content[position : position + 4], "big")
        if name == b"IEND":
            return position <= len(content)
    return False
