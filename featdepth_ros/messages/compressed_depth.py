"""Encodes depth in the format of compressed_depth_image_transport, for subscribers over a network.

After a header of 12 bytes there is a 16-bit PNG: millimetres for 16UC1, quantised inverse depth for 32FC1. The format
is defined by ros-perception/image_transport_plugins (codec.cpp, compression_common.h).
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError
from featdepth_ros.messages.encode import DepthEncoding, byte_array, depth_fields

#: Memory layout of the header: compressionFormat (INV_DEPTH), then depthParam[2].
_HEADER = struct.Struct("<iff")
_INVERSE_DEPTH = 0
#: The transport's default quantisation: steps of 1 cm at 10 m, and of 0.6 m at 80 m.
_QUANTISATION = 100.0
#: Least depth that fits into 16 bits of inverse depth.
_NEAREST_M = 0.15
#: The fastest compression level; its files are a tenth larger than the smallest.
_PNG_LEVEL = 1


def compressed_depth_fields(depth: NDArray[np.float32], encoding: DepthEncoding, max_depth: float) -> dict[str, Any]:
    """Return the fields of a sensor_msgs/CompressedImage without its header.

    Args:
        depth: (H, W) float32 metres with the marks of `marked_depth`.
        encoding: encoding for subscribers: ``32FC1`` metres with NaN where there is no measurement, or ``16UC1``
            millimetres.
        max_depth: largest depth of 32FC1, metres.

    Raises:
        ImageError: the depth cannot be encoded.
    """
    parameters = (0.0, 0.0)
    if encoding == "32FC1":
        a = _QUANTISATION * (_QUANTISATION + 1.0)
        b = 1.0 - a / max_depth
        parameters = (a, b)
        known = np.isfinite(depth) & (depth > 0) & (depth < max_depth)
        inverse = a / np.maximum(np.where(known, depth, 1.0), _NEAREST_M) + b
        values = np.where(known, np.clip(inverse, 1.0, 65535.0), 0.0).astype(np.uint16)
    else:
        fields = depth_fields(depth, encoding)
        values = np.frombuffer(fields["data"], "<u2").reshape(depth.shape)
    encoded, png = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    if not encoded:
        raise ImageError(f"depth of shape {depth.shape} cannot be encoded as PNG; expected a non-empty (H, W) array")
    data = np.concatenate([np.frombuffer(_HEADER.pack(_INVERSE_DEPTH, *parameters), np.uint8), png.ravel()])
    return {"format": f"{encoding}; compressedDepth png", "data": byte_array(data)}
