"""Messages without ROS: objects with the fields of CameraInfo, Image and CompressedImage."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import info_fields
from featdepth_ros.messages.encode import image_fields


def info_message(camera: CameraModel, **changes: object) -> SimpleNamespace:
    """Return the CameraInfo of a camera, with some fields changed."""
    fields = info_fields(camera)
    x, y, height, width, rectify = fields.pop("roi")
    roi = SimpleNamespace(x_offset=x, y_offset=y, height=height, width=width, do_rectify=rectify)
    return SimpleNamespace(**{**fields, "roi": roi, **changes})


def image_message(array: np.ndarray, encoding: str) -> SimpleNamespace:
    """Return the Image of an (H, W) or (H, W, C) array."""
    return SimpleNamespace(**image_fields(array, encoding))


def compressed_message(data: bytes, form: str) -> SimpleNamespace:
    """Return the CompressedImage with the bytes of an image file."""
    return SimpleNamespace(format=form, data=np.frombuffer(data, np.uint8))
