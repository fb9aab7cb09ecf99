"""Conversion of Image and CompressedImage messages (of rclpy, rosbags or ROS 1) to arrays.

This module needs only numpy and OpenCV. cv_bridge is not on PyPI for numpy 2, and each change of numpy's ABI breaks it
(see docs/decisions.md). The result agrees with cv_bridge's ``imgmsg_to_cv2(msg, "rgb8")``, except for 16-bit images
that do not use all bits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError, nearest_name
from featdepth_ros.messages.compressed import BAYER_TO_RGB, encoding_of, raw_image, rgb_from_compressed
from featdepth_ros.messages.sixteen_bits import eight_bits


@dataclass(frozen=True)
class _Encoding:
    """Memory layout of one encoding: channels and bits per pixel in the message, and OpenCV's conversion to RGB."""

    channels: int
    bits: int
    to_rgb: int | None
    planes: tuple[int, int] = (1, 1)  # rows in memory per row of image, as a fraction
    even: tuple[bool, bool] = (False, False)  # whether (width, height) must be even
    full_chroma: bool = False  # a luma plane, then one chroma pair per pixel


_ENCODINGS: dict[str, _Encoding] = {
    "rgb": _Encoding(3, 8, None),
    "bgr": _Encoding(3, 8, cv2.COLOR_BGR2RGB),
    "rgba": _Encoding(4, 8, cv2.COLOR_RGBA2RGB),
    "bgra": _Encoding(4, 8, cv2.COLOR_BGRA2RGB),
    "mono": _Encoding(1, 8, cv2.COLOR_GRAY2RGB),
    **{name: _Encoding(1, 8, to_rgb) for name, to_rgb in BAYER_TO_RGB.items()},
}
_BY_NAME: dict[str, _Encoding] = {
    **{f"{name}8": e for name, e in _ENCODINGS.items()},
    **{f"{name}16": _Encoding(e.channels, 16, e.to_rgb) for name, e in _ENCODINGS.items()},
    "8uc1": _ENCODINGS["mono"],
    "16uc1": _Encoding(1, 16, cv2.COLOR_GRAY2RGB),  # infrared and thermal cameras; depth is detected by its topic
    "8uc3": _ENCODINGS["bgr"],  # OpenCV's order, as in cv_bridge
    "8uc4": _ENCODINGS["bgra"],
    "uyvy": _Encoding(2, 8, cv2.COLOR_YUV2RGB_UYVY, even=(True, False)),
    "yuv422": _Encoding(2, 8, cv2.COLOR_YUV2RGB_UYVY, even=(True, False)),
    "yuyv": _Encoding(2, 8, cv2.COLOR_YUV2RGB_YUY2, even=(True, False)),
    "yuv422_yuy2": _Encoding(2, 8, cv2.COLOR_YUV2RGB_YUY2, even=(True, False)),
    "nv12": _Encoding(1, 8, cv2.COLOR_YUV2RGB_NV12, planes=(3, 2), even=(True, True)),
    "nv21": _Encoding(1, 8, cv2.COLOR_YUV2RGB_NV21, planes=(3, 2), even=(True, True)),
    "nv24": _Encoding(1, 8, None, planes=(3, 1), full_chroma=True),
    "i420": _Encoding(1, 8, cv2.COLOR_YUV2RGB_I420, planes=(3, 2), even=(True, True)),
    "yuv420": _Encoding(1, 8, cv2.COLOR_YUV2RGB_I420, planes=(3, 2), even=(True, True)),
    "yv12": _Encoding(1, 8, cv2.COLOR_YUV2RGB_YV12, planes=(3, 2), even=(True, True)),
}
#: Words in the topics of depth cameras: depth/image_rect_raw, aligned_depth_to_color, disparity.
_OF_DISTANCES = re.compile(r"depth|disparity", re.IGNORECASE)
_NOT_PICTURES = re.compile(r"(16|32|64)[USF]C\d+|8SC\d+", re.IGNORECASE)
#: Conversion of limited-range YUV (BT.601) to RGB, as in OpenCV: rows R, G, B; columns Y, U, V, 1.
_YUV_TO_RGB = np.array(
    [[1.164, 0.0, 1.596, -222.921], [1.164, -0.391, -0.813, 135.488], [1.164, 2.018, 0.0, -276.928]], np.float32
)


def rgb_from_message(message: Any) -> NDArray[np.uint8]:
    """Return the image of a sensor_msgs Image or CompressedImage.

    The case of the encoding is ignored. 16UC1 is a grey image here, as infrared and thermal cameras send it. The caller
    must exclude depth topics, see `refuse_distances`.

    Args:
        message: any object with the message's fields.

    Returns:
        (H, W, 3) uint8 RGB. It may share memory with the message: do not write to it. 16 bits are converted to 8 by
        `eight_bits`.

    Raises:
        ImageError: the encoding is unknown or not an image, or size, step and data contradict each other.
    """
    if hasattr(message, "format"):
        raw = raw_image(message)
        return rgb_from_compressed(message) if raw is None else rgb_from_message(raw)
    layout = _layout(str(message.encoding), message.width, message.height)
    rows = message.height * layout.planes[0] // layout.planes[1]
    pixels = _rows(message, message.width * layout.channels * layout.bits // 8, rows)
    if layout.bits == 16:
        words = np.ascontiguousarray(pixels).view(">u2" if message.is_bigendian else "<u2")
        pixels = eight_bits(words, grey=layout.to_rgb == cv2.COLOR_GRAY2RGB)
    if layout.full_chroma:
        return _from_full_chroma(pixels, message.width, message.height)
    if layout.channels > 1:
        pixels = pixels.reshape(rows, message.width, layout.channels)
    if layout.to_rgb is None:
        return np.ascontiguousarray(pixels)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), layout.to_rgb), dtype=np.uint8)


def refuse_distances(message: Any, topic: str) -> None:
    """Reject a depth image by its topic's name, because 16UC1 may be depth, thermal or infrared.

    Raises:
        ImageError: the encoding, before any compression, is 16UC1, and the name contains "depth" or "disparity".
    """
    if encoding_of(message) == "16UC1" and _OF_DISTANCES.search(topic):
        raise ImageError(
            f"{topic} holds distances by its name and its encoding 16UC1; choose the camera's colour or grey topic "
            "(16-bit thermal and infrared images need the encoding mono16, or a name without 'depth')"
        )


def _from_full_chroma(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    chroma = np.ascontiguousarray(pixels[height:]).reshape(height, width, 2)
    yuv = np.concatenate([pixels[:height, :, None], chroma], axis=2)
    return np.asarray(cv2.transform(yuv, _YUV_TO_RGB), dtype=np.uint8)


def depth_from_message(message: Any) -> NDArray[np.float32]:
    """Convert a depth image (REP-118: 32FC1 metres, 16UC1 millimetres with 0 invalid) to (H, W) float32 metres.

    Raises:
        ImageError: the message has another encoding, or its data contradict its size.
    """
    encoding = str(message.encoding).upper()
    if encoding not in ("32FC1", "16UC1"):
        raise ImageError(f"a depth image has encoding '{message.encoding}'; expected 32FC1 (m) or 16UC1 (mm)")
    dtype = np.dtype((">" if message.is_bigendian else "<") + ("f4" if encoding == "32FC1" else "u2"))
    values = np.ascontiguousarray(_rows(message, message.width * dtype.itemsize, message.height)).view(dtype)
    if encoding == "32FC1":
        return values.astype(np.float32)
    return np.where(values == 0, np.float32(np.nan), values.astype(np.float32) / np.float32(1000.0))


def _layout(encoding: str, width: int, height: int) -> _Encoding:
    layout = _BY_NAME.get(encoding.lower())
    if layout is None:
        if _NOT_PICTURES.fullmatch(encoding):
            raise ImageError(
                f"image encoding '{encoding}' holds measurements (depth?), not a colour or grey image; "
                "choose a colour or grey camera topic"
            )
        raise ImageError(f"image encoding '{encoding}' is not known{nearest_name(encoding.lower(), _BY_NAME)}")
    if (layout.even[0] and width % 2) or (layout.even[1] and height % 2):
        raise ImageError(
            f"{encoding} image is {width}x{height}; expected an even size, because two pixels share their chroma"
        )
    return layout


def _rows(message: Any, row_bytes: int, rows: int) -> NDArray[np.uint8]:
    """Return the bytes of an image without the padding of its rows, (rows, row_bytes)."""
    if message.width <= 0 or message.height <= 0:
        raise ImageError(f"the image has size {message.width}x{message.height}; expected at least 1x1")
    step = int(message.step)
    if step < row_bytes:
        raise ImageError(
            f"image step is {step} bytes; expected at least {row_bytes} for a row of {message.width} "
            f"{message.encoding} pixels"
        )
    needed = step * (rows - 1) + row_bytes  # some drivers omit the last row's padding
    if len(message.data) < needed:
        raise ImageError(
            f"image data has {len(message.data)} bytes; expected {step * rows} for {message.width}x{message.height} "
            f"{message.encoding} with step {step}"
        )
    return np.ndarray((rows, row_bytes), np.uint8, message.data, strides=(step, 1))
