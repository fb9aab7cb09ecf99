"""Image and CompressedImage messages to RGB arrays.

numpy and OpenCV only: cv_bridge is not on PyPI for numpy 2 and breaks whenever numpy's ABI moves (see
docs/decisions.md). The result agrees with cv_bridge's ``imgmsg_to_cv2(msg, "rgb8")``.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from featdepth_ros.errors import ImageError, nearest_name


@dataclass(frozen=True)
class _Encoding:
    """Memory layout of one encoding: channels and bits of a pixel in the message, and OpenCV's way to RGB."""

    channels: int
    bits: int
    to_rgb: int | None
    planes: tuple[int, int] = (1, 1)  # rows in memory per row of image, as a fraction
    even: tuple[bool, bool] = (False, False)  # (width, height) must be even


_ENCODINGS: dict[str, _Encoding] = {
    "rgb": _Encoding(3, 8, None),
    "bgr": _Encoding(3, 8, cv2.COLOR_BGR2RGB),
    "rgba": _Encoding(4, 8, cv2.COLOR_RGBA2RGB),
    "bgra": _Encoding(4, 8, cv2.COLOR_BGRA2RGB),
    "mono": _Encoding(1, 8, cv2.COLOR_GRAY2RGB),
    # OpenCV names Bayer patterns by the second row's second and third pixel, ROS by the first row.
    "bayer_rggb": _Encoding(1, 8, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr": _Encoding(1, 8, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg": _Encoding(1, 8, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg": _Encoding(1, 8, cv2.COLOR_BayerGB2RGB),
}
_BY_NAME: dict[str, _Encoding] = {
    **{f"{name}8": e for name, e in _ENCODINGS.items()},
    **{f"{name}16": _Encoding(e.channels, 16, e.to_rgb) for name, e in _ENCODINGS.items()},
    "8UC1": _ENCODINGS["mono"],
    "8UC3": _ENCODINGS["bgr"],  # OpenCV's habit, as cv_bridge takes it
    "8UC4": _ENCODINGS["bgra"],
    "uyvy": _Encoding(2, 8, cv2.COLOR_YUV2RGB_UYVY, even=(True, False)),
    "yuv422": _Encoding(2, 8, cv2.COLOR_YUV2RGB_UYVY, even=(True, False)),
    "yuyv": _Encoding(2, 8, cv2.COLOR_YUV2RGB_YUY2, even=(True, False)),
    "yuv422_yuy2": _Encoding(2, 8, cv2.COLOR_YUV2RGB_YUY2, even=(True, False)),
    "nv12": _Encoding(1, 8, cv2.COLOR_YUV2RGB_NV12, planes=(3, 2), even=(True, True)),
    "nv21": _Encoding(1, 8, cv2.COLOR_YUV2RGB_NV21, planes=(3, 2), even=(True, True)),
}
_NOT_PICTURES = re.compile(r"(16|32|64)[USF]C\d+|8SC\d+")


def _layout(msg: Image) -> _Encoding:
    encoding = _BY_NAME.get(msg.encoding)
    if encoding is None:
        if _NOT_PICTURES.fullmatch(msg.encoding):
            raise ImageError(
                f"image encoding '{msg.encoding}' holds measurements (depth?), not a picture; "
                "remap image_raw to a colour or grey camera topic"
            )
        raise ImageError(f"image encoding '{msg.encoding}' is not known{nearest_name(msg.encoding, _BY_NAME)}")
    if msg.width == 0 or msg.height == 0:
        raise ImageError(f"image size is {msg.width}x{msg.height}; expected at least 1x1")
    if (encoding.even[0] and msg.width % 2) or (encoding.even[1] and msg.height % 2):
        raise ImageError(f"{msg.encoding} image is {msg.width}x{msg.height}; its chroma needs even sides")
    return encoding


def image_to_rgb(msg: Image) -> NDArray[np.uint8]:
    """Return the picture of an Image message.

    Returns:
        (H, W, 3) uint8 RGB. It may share memory with the message: do not write to it. 16-bit pictures are scaled
        by 255 / 65535 and rounded.

    Raises:
        ImageError: the encoding is unknown or no picture, or size, step and data do not fit each other.
    """
    layout = _layout(msg)
    row_bytes = msg.width * layout.channels * layout.bits // 8
    rows = msg.height * layout.planes[0] // layout.planes[1]
    if msg.step < row_bytes:
        raise ImageError(f"image step is {msg.step} bytes; a row of {msg.width} {msg.encoding} pixels has {row_bytes}")
    if len(msg.data) != msg.step * rows:
        raise ImageError(
            f"image data has {len(msg.data)} bytes; {msg.width}x{msg.height} {msg.encoding} with step {msg.step} "
            f"has {msg.step * rows}"
        )
    pixels = np.frombuffer(msg.data, np.uint8).reshape(rows, msg.step)[:, :row_bytes]
    if layout.bits == 16:
        words = np.ascontiguousarray(pixels).view(">u2" if msg.is_bigendian else "<u2")
        pixels = ((words.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if layout.channels > 1:
        pixels = pixels.reshape(rows, msg.width, layout.channels)
    if layout.to_rgb is None:
        return np.ascontiguousarray(pixels)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), layout.to_rgb), dtype=np.uint8)


def compressed_to_rgb(msg: CompressedImage) -> NDArray[np.uint8]:
    """Return the picture of a CompressedImage message (JPEG, PNG, whatever OpenCV reads).

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: a compressed depth image, or the data cannot be decoded.
    """
    if "compressedDepth" in msg.format:
        raise ImageError(f"compressed image format is '{msg.format}'; expected a picture, this is depth")
    data = np.frombuffer(msg.data, np.uint8)
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    except cv2.error as error:
        raise ImageError(f"compressed image ('{msg.format}', {data.size} bytes) cannot be decoded: {error}") from error
    if picture is None:
        raise ImageError(
            f"compressed image ('{msg.format}', {data.size} bytes) cannot be decoded; expected JPEG or PNG data"
        )
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def to_rgb(msg: Image | CompressedImage) -> NDArray[np.uint8]:
    """Return the picture of either message; see `image_to_rgb` and `compressed_to_rgb`."""
    return image_to_rgb(msg) if isinstance(msg, Image) else compressed_to_rgb(msg)


def byte_array(values: NDArray[np.generic]) -> array[int]:
    """Return the bytes of an array in the form that message fields take without a check of every element.

    0.5 ms for a 1080p picture, where assigning ``bytes`` takes 4 ms and the array itself hundreds.
    """
    data = array("B")
    data.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return data


def time_message(stamp_ns: int) -> Time:
    """Return nanoseconds since the epoch as a message."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def stamp_ns(time: Time) -> int:
    """Return a time message as nanoseconds since the epoch."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def image_message(pixels: NDArray[np.generic], encoding: str, stamp: int, frame_id: str) -> Image:
    """Return an Image message of an (H, W) or (H, W, C) array, as it lies in memory (little-endian).

    Args:
        pixels: array whose element type and channels fit ``encoding`` (``rgb8``, ``32FC1``, ``16UC1``...).
        encoding: name out of sensor_msgs/image_encodings.
        stamp: nanoseconds.
        frame_id: optical frame.
    """
    msg = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=0)
    msg.header.stamp = time_message(stamp)
    msg.header.frame_id = frame_id
    msg.step = int(pixels.nbytes // pixels.shape[0])
    msg.data = byte_array(pixels)
    return msg
