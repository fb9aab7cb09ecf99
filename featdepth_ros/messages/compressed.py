"""Decoding of CompressedImage messages: their `format`, and the transports that use the type for other data."""

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

#: Encodings of depth; infrared and thermal cameras send images as 16UC1 too.
DEPTH_ENCODINGS = ("32FC1", "64FC1", "16UC1")
_VIDEO = re.compile(r"h\.?26[45]|hevc|avc\d?|av1|vp[89]|theora|ffmpeg|mpeg[24]|(lib)?x26[45]", re.IGNORECASE)
_HEVC = re.compile(r"h\.?265|hevc|x265", re.IGNORECASE)
_H264 = re.compile(r"h\.?264|avc|x264", re.IGNORECASE)
#: First bytes of H.265's NAL units: slices, IDR and CRA pictures, parameter sets, delimiters, SEI.
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
    """The text ``ENCODING; CODEC compressed TARGET`` of compressed_image_transport; parts may be missing.

    Attributes:
        encoding: encoding of the image before compression, lower case; empty if the text does not contain it.
        target: encoding of the compressed pixels, lower case; empty if it is the same.
    """

    encoding: str
    target: str

    @property
    def bayer(self) -> str:
        """The pattern (``bayer_rggb``) if the compressed data are a Bayer mosaic, else empty."""
        pattern = self.encoding.rstrip("0123456789")
        return pattern if pattern in BAYER_TO_RGB and self.target in ("", self.encoding) else ""


def parse_format(text: str) -> CompressedFormat:
    """Return the encodings in a CompressedImage's ``format``; ``jpeg`` and other short texts contain none."""
    encoding, separator, rest = text.partition(";")
    if not separator:
        return CompressedFormat("", "")
    target = rest.partition("compressed")[2] if "compressedDepth" not in rest else ""
    return CompressedFormat(encoding.strip().lower(), target.strip().lower())


def encoding_of(message: Any) -> str:
    """Return the encoding of an image before any compression, in capitals; empty if the message does not contain it.

    Args:
        message: an Image, or a CompressedImage of any transport. zstd has the encoding in a header of the data, others
            have it in ``format``.
    """
    if not hasattr(message, "format"):
        return str(message.encoding).upper()
    header = _raw_header(message)
    return (parse_format(str(message.format)).encoding if header is None else header.encoding).upper()


def is_compressed_picture(message: Any) -> bool:
    """Return whether a CompressedImage is a camera image: neither its format nor its data's header say depth."""
    return "compressedDepth" not in message.format and encoding_of(message) not in DEPTH_ENCODINGS


def raw_image(message: Any) -> Any | None:
    """Return the Image in a message of the zstd transport (image_transport_plugins), None for all others.

    It has the fields of sensor_msgs/Image without its header.

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
    """Header of the zstd transport before the compressed data, and the offset of these data."""

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
    """Return ``h264`` or ``hevc`` for a message of such a video stream, else an empty string."""
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
    """Return the advice for a stream that cannot be decoded here."""
    return "republish it as images (ros2 run image_transport republish --ros-args -p out_transport:=compressed)"


def rgb_from_compressed(message: Any) -> NDArray[np.uint8]:
    """Return the image of a CompressedImage as (H, W, 3) uint8 RGB; Bayer mosaics are interpolated.

    Raises:
        ImageError: the message is depth or a video stream, or its data cannot be decoded.
    """
    text = str(message.format)
    if "compressedDepth" in text:
        raise ImageError(f"compressed image format is '{text}', which is depth; expected a colour or grey image")
    data = np.frombuffer(message.data, np.uint8)
    if _VIDEO.search(text) or data[:4].tobytes().startswith(_START_CODES):
        raise ImageError(
            f"compressed image format is '{text}', a part of a video stream; expected a single image. "
            f"To use it, {republish_hint()}"
        )
    pattern = parse_format(text).bayer
    try:
        if pattern:
            return decode_mosaic(data, BAYER_TO_RGB[pattern])
        return decode_image(data, upright=False)
    except ImageError as error:
        raise ImageError(f"compressed image ('{text}') cannot be decoded: {error}") from error
