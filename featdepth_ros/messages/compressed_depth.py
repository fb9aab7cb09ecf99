"""Depth as compressed_depth_image_transport sends it, for subscribers over a network.

Behind a header of 12 bytes lies a PNG of 16 bits: millimetres of 16UC1 as they are, inverse depth of 32FC1. The form is
that of ros-perception/image_transport_plugins (codec.cpp, compression_common.h).
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError
from featdepth_ros.messages.encode import DepthEncoding, byte_array, depth_fields

#: compressionFormat INV_DEPTH, then depthParam[2]; the struct's layout in memory.
_HEADER = struct.Struct("<iff")
_INVERSE_DEPTH = 0
#: The transport's default quantisation: steps of 1 cm at 10 m, 0.6 m at 80 m.
_QUANTISATION = 100.0
#: Nearer values do not fit 16 bits of inverse depth.
_NEAREST_M = 0.15
#: Fast, a tenth larger than the best.
_PNG_LEVEL = 1


def compressed_depth_fields(depth: NDArray[np.float32], encoding: DepthEncoding, max_depth: float) -> dict[str, Any]:
    """Return the fields of a sensor_msgs/CompressedImage but its header.

    Args:
        depth: (H, W) float32 metres with the marks of `marked_depth`.
        encoding: what subscribers get: ``32FC1`` metres, NaN where there is no measurement; ``16UC1`` millimetres.
        max_depth: metres beyond which 32FC1 has no value.

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
        raise ImageError(f"depth of shape {depth.shape} cannot be encoded as PNG")
    data = np.concatenate([np.frombuffer(_HEADER.pack(_INVERSE_DEPTH, *parameters), np.uint8), png.ravel()])
    return {"format": f"{encoding}; compressedDepth png", "data": byte_array(data)}
