"""Encoded pictures (PNG, JPEG, ...) to arrays, with a check for truncation."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError


def decode_image(data: bytes | NDArray[np.uint8], upright: bool = True) -> NDArray[np.uint8]:
    """Decode a PNG, JPEG, ... into (H, W, 3) uint8 RGB; grey is repeated, 16 bits become 8, alpha is dropped.

    Args:
        data: the file's bytes.
        upright: turn the image as its EXIF mark says; False leaves the sensor's rows, which a calibration means.

    Raises:
        ImageError: not an image, or a JPEG or PNG that ends early (decoders would fill the rest with grey).
    """
    buffer = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    if buffer.size == 0:
        raise ImageError("the image is empty (0 bytes)")
    content = buffer.tobytes().rstrip(b"\0")  # cameras pad their JPEG buffers
    head, tail = content[:4], content[-4096:]
    if (head[:2] == b"\xff\xd8" and b"\xff\xd9" not in tail) or (head == b"\x89PNG" and b"IEND" not in tail):
        raise ImageError(f"the image ends early ({buffer.size} bytes, no end marker)")
    try:
        bgr = cv2.imdecode(buffer, cv2.IMREAD_COLOR | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION))
    except cv2.error as error:
        raise ImageError(f"the image cannot be decoded: {error.err}") from error
    if bgr is None:
        raise ImageError(f"the {buffer.size} bytes are no image that can be decoded")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
