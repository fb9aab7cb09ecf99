"""An Estimate as messages: depth images (REP-117, REP-118), sigma, clouds, odometry, transforms.

Incoming pictures are in `images`, calibrations in `calibration`, rotations in `transforms`.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2, PointField

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.odometry import OdometryState
from featdepth_ros.inference.types import Estimate
from featdepth_ros.ros.images import byte_array, image_message, time_message
from featdepth_ros.ros.transforms import fill_pose, transform_message

DepthEncoding = Literal["32FC1", "16UC1"]

_MILLIMETRES_MAX = 65535


def masked_depth(estimate: Estimate) -> NDArray[np.float32]:
    """Return depth with REP-117's marks where there is no measurement.

    Returns:
        (h, w) float32: beyond ``max_depth`` +Inf, below ``min_depth`` -Inf, unreliable or outside the image NaN.
    """
    depth = np.where(estimate.valid, estimate.depth, np.float32(np.nan))
    depth[estimate.depth > estimate.max_depth] = np.inf
    depth[estimate.depth < estimate.min_depth] = -np.inf
    depth[~estimate.in_image] = np.nan
    return np.asarray(depth, dtype=np.float32)


def depth_image(estimate: Estimate, encoding: DepthEncoding, frame_id: str) -> Image:
    """Return the depth image of REP-118: 32FC1 metres with REP-117's marks, or 16UC1 millimetres with 0 for them.

    16UC1 ends at 65.535 m: what lies beyond is 0, as is everything nearer than half a millimetre.
    """
    depth = masked_depth(estimate)
    if encoding == "16UC1":
        millimetres = np.nan_to_num(depth, nan=0.0, posinf=0.0, neginf=0.0) * np.float32(1000.0)
        millimetres = np.rint(millimetres)
        millimetres[millimetres > _MILLIMETRES_MAX] = 0
        return image_message(millimetres.astype("<u2"), encoding, estimate.stamp_ns, frame_id)
    return image_message(depth, encoding, estimate.stamp_ns, frame_id)


def sigma_image(estimate: Estimate, frame_id: str) -> Image:
    """Return the standard deviation of depth, 32FC1 in depth's unit, NaN where depth has no value.

    Raises:
        ValueError: the estimate has no sigma.
    """
    if estimate.sigma is None:
        raise ValueError("the model gives no standard deviation of depth")
    usable = np.isfinite(masked_depth(estimate))
    sigma = np.where(usable, estimate.sigma, np.float32(np.nan)).astype(np.float32)
    return image_message(sigma, "32FC1", estimate.stamp_ns, frame_id)


class CloudMaker:
    """Turns depth into organised clouds. Rays and message are kept: 2 MB of fresh memory cost 5 ms of page faults."""

    FIELDS = tuple(
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(("x", "y", "z", "rgb"))
    )

    def __init__(self) -> None:
        self._camera: CameraModel | None = None
        self._ray_x = self._ray_y = np.zeros((1, 1), np.float32)
        self._points = np.zeros((1, 1, 4), np.float32)
        self._msg = PointCloud2()

    def _prepare(self, camera: CameraModel) -> None:
        height, width = camera.height, camera.width
        self._camera = camera
        self._ray_x = ((np.arange(width) - camera.cx) / camera.fx).astype(np.float32)[None, :]
        self._ray_y = ((np.arange(height) - camera.cy) / camera.fy).astype(np.float32)[:, None]
        msg = PointCloud2(height=height, width=width, fields=list(self.FIELDS), is_bigendian=False, is_dense=False)
        msg.point_step, msg.row_step = 16, 16 * width
        msg.data = byte_array(np.zeros((height, width, 4), np.float32))
        self._msg = msg
        self._points = np.frombuffer(msg.data, np.float32).reshape(height, width, 4)  # the message's own memory

    def __call__(self, estimate: Estimate, camera: CameraModel, frame_id: str) -> PointCloud2:
        """Return the cloud of one frame; the next call overwrites it, so publish (or copy) it first.

        Args:
            estimate: depth and image of (h, w).
            camera: ideal pinhole camera of (h, w).
            frame_id: the camera's optical frame.

        Returns:
            h x w points of x, y, z (float32, depth's unit, optical axes) and rgb (packed as PCL does); NaN without
            value.
        """
        if camera != self._camera:
            self._prepare(camera)
        depth = masked_depth(estimate)
        depth[np.isinf(depth)] = np.nan
        colour = cv2.cvtColor(estimate.image, cv2.COLOR_RGB2BGRA)  # 0x00RRGGBB, little-endian
        colour[..., 3] = 0
        packed = colour.view(np.float32)[..., 0]
        cv2.merge((depth * self._ray_x, depth * self._ray_y, depth, packed), self._points)
        self._msg.header.stamp = time_message(estimate.stamp_ns)
        self._msg.header.frame_id = frame_id
        return self._msg


def odometry_message(state: OdometryState, odom_frame: str, base_frame: str) -> Odometry:
    """Return nav_msgs/Odometry: pose of the base in ``odom_frame``, twist in ``base_frame`` (REP-105)."""
    msg = Odometry(child_frame_id=base_frame)
    msg.header.stamp = time_message(state.stamp_ns)
    msg.header.frame_id = odom_frame
    fill_pose(msg.pose.pose, state.T_odom_base)
    msg.pose.covariance = [float(v) for v in np.asarray(state.pose_covariance).ravel()]
    linear, angular = msg.twist.twist.linear, msg.twist.twist.angular
    linear.x, linear.y, linear.z = (float(v) for v in state.linear)
    angular.x, angular.y, angular.z = (float(v) for v in state.angular)
    msg.twist.covariance = [float(v) for v in np.asarray(state.twist_covariance).ravel()]
    return msg


def odometry_transform(
    state: OdometryState, odom_frame: str, base_frame: str, invert: bool = False
) -> TransformStamped:
    """Return odom -> base (parent -> child), or the other way round for trees whose base has a parent already."""
    if invert:
        return transform_message(se3.inverse(state.T_odom_base), state.stamp_ns, base_frame, odom_frame)
    return transform_message(state.T_odom_base, state.stamp_ns, odom_frame, base_frame)
