"""Conversion of depth and image to an organised PointCloud2, for the classes of rclpy and of rosbags."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.encode import byte_array

_FLOAT32 = 7  # sensor_msgs/PointField.FLOAT32
#: Fields of the PointField messages of a cloud: x, y, z, and the colour in PCL's packing.
POINT_FIELDS: tuple[dict[str, Any], ...] = tuple(
    {"name": name, "offset": 4 * index, "datatype": _FLOAT32, "count": 1}
    for index, name in enumerate(("x", "y", "z", "rgb"))
)
_POINT_BYTES = 16


class OrganisedCloud:
    """Point cloud of one camera: h x w points in one buffer, which each frame overwrites.

    Rays and buffer are reused, because 2 MB of new memory cost 5 ms of page faults. So publish (or copy) a message that
    shares the buffer before the next `fill`.

    Args:
        camera: pinhole camera of the depth, (h, w).

    Attributes:
        camera: the camera.
        data: bytes of the points: an ``array("B")``, or the argument of `share`.
    """

    def __init__(self, camera: CameraModel) -> None:
        self.camera = camera
        self._ray_x = ((np.arange(camera.width) - camera.cx) / camera.fx).astype(np.float32)[None, :]
        self._ray_y = ((np.arange(camera.height) - camera.cy) / camera.fy).astype(np.float32)[:, None]
        self.share(byte_array(np.zeros((camera.height, camera.width, 4), np.float32)))

    def share(self, data: Any) -> None:
        """Use this buffer from now on: the ``data`` of a message, whose class may have copied the assigned value."""
        self.data = data
        self._points = np.frombuffer(data, np.float32).reshape(self.camera.height, self.camera.width, 4)

    def fields(self) -> dict[str, Any]:
        """Return the fields of a sensor_msgs/PointCloud2 without its header and its PointFields (`POINT_FIELDS`)."""
        height, width = self.camera.height, self.camera.width
        return {
            "height": height,
            "width": width,
            "is_bigendian": False,
            "point_step": _POINT_BYTES,
            "row_step": _POINT_BYTES * width,
            "data": self.data,
            "is_dense": False,
        }

    def fill(self, depth: NDArray[np.float32], rgb: NDArray[np.uint8]) -> None:
        """Write a frame's points into the buffer: x, y, z (float32, unit of the depth, optical axes) and rgb.

        Args:
            depth: (h, w) float32 z-depth; points without a finite depth are NaN.
            rgb: (h, w, 3) uint8 image.
        """
        z = np.where(np.isfinite(depth), depth, np.float32(np.nan))
        colour = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)  # 0x00RRGGBB, little-endian
        colour[..., 3] = 0
        packed = colour.view(np.float32)[..., 0]
        cv2.merge((z * self._ray_x, z * self._ray_y, z, packed), self._points)
