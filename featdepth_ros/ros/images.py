"""Headers and Image messages of rclpy's classes; the package `messages` computes their content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from featdepth_ros.messages.encode import image_fields
from featdepth_ros.messages.stamps import stamp_fields

M = TypeVar("M")


def time_message(stamp_ns: int) -> Time:
    """Return nanoseconds since the epoch as a message."""
    return Time(**stamp_fields(stamp_ns))


def header_message(stamp_ns: int, frame_id: str) -> Header:
    """Return a header with a stamp in nanoseconds."""
    return Header(stamp=time_message(stamp_ns), frame_id=frame_id)


def image_message(pixels: NDArray[np.generic], encoding: str, stamp_ns: int, frame_id: str) -> Image:
    """Return an Image message of an (H, W) or (H, W, C) array; see `messages.encode.image_fields`.

    Args:
        pixels: array whose dtype and channels match ``encoding`` (``rgb8``, ``32FC1``, ``16UC1``...).
        encoding: name from sensor_msgs/image_encodings.
        stamp_ns: nanoseconds.
        frame_id: optical frame.
    """
    return filled(Image(header=header_message(stamp_ns, frame_id)), image_fields(pixels, encoding))


def filled(message: M, fields: Mapping[str, Any]) -> M:
    """Set the fields of a message and return it. Passing them to its constructor would copy the data once more."""
    for name, value in fields.items():
        setattr(message, name, value)
    return message
