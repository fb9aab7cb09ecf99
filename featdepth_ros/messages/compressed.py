"""CompressedImage messages: what `format` promises, and the transports that use the type for other things."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError, MissingDependencyError
from featdepth_ros.messages.decode import decode_image, decode_mosaic
from featdepth_ros.messages.zstandard import ZSTD_MAGIC, decompress_zstd

#: Encodings of depth; infrared and thermal cameras send pictures as 16UC1 too.
DEPTH_ENCODINGS = ("32FC1", "64FC1", "16UC1")
_VIDEO = re.compile(r"h\.?26[45]|hevc|avc\d?|av1|vp[89]|theora|ffmpeg|mpeg[24]|(lib)?x26[45]", re.IGNORECASE)
_HEVC = re.compile(r"h\.?265|hevc|x265", re.IGNORECASE)
_H264 = re.compile(r"h\.?264|avc|x264", re.IGNORECASE)
#: First bytes of H.265's units: slices, pictures that a stream may begin with, parameter sets, delimiters, notes.
_HEVC_UNITS = tuple(bytes([number << 1]) for number in (1, 19, 21, 32, 33, 34, 35, 39))
_START_CODES = (b"\0\0\0\x01", b"\0\0\x01")  # of H.264 and H.265 streams
#: OpenCV names Bayer patterns by the second row's second and third pixel, ROS by the first row.
BAYER_TO_RGB = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}


@dataclass(frozen=True)
class CompressedFormat:
    """The text ``ENCODING; CODEC compressed TARGET`` that compressed_image_transport writes; parts may be missing.

    Attributes:
        encoding: of the image before compression, lower case; empty when the text does not say.
        target: of the pixels in the compressed data, lower case; empty when it is the encoding itself.
    """

    encoding: str
    target: str

    @property
    def bayer(self) -> str:
        """The pattern (``bayer_rggb``) when the compressed data hold the mosaic itself, else empty."""
        pattern = self.encoding.rstrip("0123456789")
        return pattern if pattern in BAYER_TO_RGB and self.target in ("", self.encoding) else ""


def parse_format(text: str) -> CompressedFormat:
    """Return what a CompressedImage's ``format`` says; ``jpeg`` and other short texts say nothing of encodings."""
    encoding, separator, rest = text.partition(";")
    if not separator:
        return CompressedFormat("", "")
    target = rest.partition("compressed")[2] if "compressedDepth" not in rest else ""
    return CompressedFormat(encoding.strip().lower(), target.strip().lower())


def encoding_of(message: Any) -> str:
    """Return the encoding of an image before any compression, in capitals; empty when the message does not say.

    Args:
        message: an Image, or a CompressedImage of any transport (zstd names it in front of the data, others in
            ``format``).
    """
    if not hasattr(message, "format"):
        return str(message.encoding).upper()
    header = _raw_header(message)
    return (parse_format(str(message.format)).encoding if header is None else header.encoding).upper()


def is_compressed_picture(message: Any) -> bool:
    """Tell whether a CompressedImage is of a camera: no depth by its format or by what lies in front of its data."""
    return "compressedDepth" not in message.format and encoding_of(message) not in DEPTH_ENCODINGS


def raw_image(message: Any) -> Any | None:
    """Return the Image inside a message of the zstd transport (image_transport_plugins), None for all others.

    The fields are those of sensor_msgs/Image without its header.

    Raises:
        ImageError: the data are damaged, or zstd is not installed.
    """
    header = _raw_header(message)
    if header is None:
        return None
    try:
        pixels = decompress_zstd(bytes(memoryview(message.data)[header.start :]))
    except (ValueError, MissingDependencyError) as error:
        raise ImageError(f"the compressed image of the zstd transport cannot be decoded: {error}") from error
    return SimpleNamespace(
        height=header.height,
        width=header.width,
        encoding=header.encoding,
        is_bigendian=header.is_bigendian,
        step=header.step,
        data=pixels,
    )


class _RawHeader(NamedTuple):
    """What the zstd transport puts in front of the compressed data, and where these start."""

    height: int
    width: int
    is_bigendian: bool
    step: int
    encoding: str
    start: int


def _raw_header(message: Any) -> _RawHeader | None:
    data = bytes(memoryview(message.data)[:256])
    fixed = struct.calcsize("<IIBII")
    if len(data) < fixed:
        return None
    height, width, big_endian, step, length = struct.unpack_from("<IIBII", data)
    start = fixed + length
    if length > 64 or data[start : start + 4] != ZSTD_MAGIC:
        return None
    return _RawHeader(height, width, bool(big_endian), step, data[fixed:start].decode(errors="replace"), start)


def video_codec(message: Any) -> str:
    """Return ``h264`` or ``hevc`` for a message with a piece of such a stream, else an empty string."""
    if not hasattr(message, "format"):
        return ""
    text, start = str(message.format), bytes(memoryview(message.data)[:5])
    if _HEVC.search(text):
        return "hevc"
    if _H264.search(text):
        return "h264"
    if _VIDEO.search(text) or not start.startswith(_START_CODES):
        return ""
    return "hevc" if start.lstrip(b"\0")[1:2] in _HEVC_UNITS else "h264"


def republish_hint() -> str:
    """Return what to do with a stream that is not decoded here."""
    return "republish it as images (ros2 run image_transport republish --ros-args -p out_transport:=compressed)"


def rgb_from_compressed(message: Any) -> NDArray[np.uint8]:
    """Return the picture of a CompressedImage as (H, W, 3) uint8 RGB; Bayer mosaics are interpolated.

    Raises:
        ImageError: depth, a video stream, or nothing that can be decoded.
    """
    text = str(message.format)
    if "compressedDepth" in text:
        raise ImageError(f"compressed image format is '{text}'; expected a picture, this is depth")
    data = np.frombuffer(message.data, np.uint8)
    if _VIDEO.search(text) or data[:4].tobytes().startswith(_START_CODES):
        raise ImageError(
            f"compressed image format is '{text}': a piece of a video stream, no picture by itself; {republish_hint()}"
        )
    pattern = parse_format(text).bayer
    try:
        if pattern:
            return decode_mosaic(data, BAYER_TO_RGB[pattern])
        return decode_image(data, upright=False)
    except ImageError as error:
        raise ImageError(f"compressed image ('{text}') cannot be decoded: {error}") from error
