"""Image messages of arrays, and their stamps. The way back is `recordings.image_messages`, as bags need it too."""

from __future__ import annotations

from array import array

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image


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
