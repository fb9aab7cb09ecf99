"""Image messages of every common encoding to (H, W, 3) uint8 RGB, for bags."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError
from featdepth_ros.recordings.images import decode_image

#: OpenCV's type names mean colours in the order cv_bridge assumes.
_ALIASES = {"8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8", "16UC1": "mono16", "16UC3": "bgr16"}
#: Encodings that hold no picture unless a user names the topic.
DEPTH_ENCODINGS = ("32FC1", "64FC1", "16UC1")


def rgb_from_message(message: Any) -> NDArray[np.uint8]:
    """Convert a sensor_msgs Image or CompressedImage (as decoded by rosbags) to (H, W, 3) uint8 RGB.

    Row padding (``step``), byte order, Bayer patterns, YUV, 16 bits and alpha are handled; grey is repeated.

    Raises:
        ImageError: an encoding that is no picture, or data that do not fit the message's own size.
    """
    if hasattr(message, "format"):
        return decode_image(np.asarray(message.data, dtype=np.uint8))
    from rosbags.image import ImageError as RosbagsImageError
    from rosbags.image import message_to_cvimage

    encoding = _ALIASES.get(message.encoding, message.encoding)
    packed = _without_padding(message, encoding)
    try:
        rgb = message_to_cvimage(packed, "rgb8")
    except (RosbagsImageError, TypeError, ValueError) as error:
        raise ImageError(f"an image with encoding '{message.encoding}' cannot be converted to RGB: {error}") from error
    image = np.ascontiguousarray(rgb, dtype=np.uint8)
    return image if image.flags.writeable else image.copy()  # the message's own bytes are read-only


def depth_from_message(message: Any) -> NDArray[np.float32]:
    """Convert a depth image (REP-118: 32FC1 metres, 16UC1 millimetres with 0 invalid) to (H, W) float32 metres.

    Raises:
        ImageError: another encoding, or data that do not fit the message's own size.
    """
    if message.encoding not in ("32FC1", "16UC1"):
        raise ImageError(f"a depth image has encoding '{message.encoding}'; expected 32FC1 (m) or 16UC1 (mm)")
    packed = _without_padding(message, message.encoding)
    dtype = np.dtype((">" if message.is_bigendian else "<") + ("f4" if message.encoding == "32FC1" else "u2"))
    values = np.frombuffer(packed.data.tobytes(), dtype=dtype).reshape(message.height, message.width)
    if message.encoding == "32FC1":
        return values.astype(np.float32)
    return np.where(values == 0, np.float32(np.nan), values.astype(np.float32) / np.float32(1000.0))


def _row_layout(encoding: str, width: int, height: int) -> tuple[int, int]:
    from rosbags.image import ImageError as RosbagsImageError
    from rosbags.image.image import to_cvtype

    try:
        _, _, dtype, channels = to_cvtype(encoding)
    except RosbagsImageError as error:
        raise ImageError(f"image encoding '{encoding}' is not known") from error
    rows = height * 3 // 2 if encoding in ("nv12", "nv21") else height
    return width * channels * np.dtype(dtype).itemsize, rows


def _without_padding(message: Any, encoding: str) -> SimpleNamespace:
    """Return what `message_to_cvimage` reads of a message, its rows packed; it ignores ``step`` itself."""
    width, height = int(message.width), int(message.height)
    if width <= 0 or height <= 0:
        raise ImageError(f"the image message has size {width}x{height}")
    row, rows = _row_layout(encoding, width, height)
    step = int(message.step) or row
    data = np.asarray(message.data, dtype=np.uint8)
    if step < row or data.size < step * (rows - 1) + row:
        raise ImageError(
            f"the image message holds {data.size} bytes with step {step}; {width}x{height} {encoding} needs "
            f"{rows} rows of {row} bytes"
        )
    if step != row:
        padded = np.zeros(step * rows, dtype=np.uint8)
        padded[: min(data.size, padded.size)] = data[: padded.size]
        data = np.ascontiguousarray(padded.reshape(rows, step)[:, :row]).reshape(-1)
    return SimpleNamespace(
        encoding=encoding, width=width, height=rows, data=data[: row * rows], is_bigendian=bool(message.is_bigendian)
    )
