"""An Estimate as messages: depth images (REP-117, REP-118), sigma, clouds, odometry, transforms.

Incoming pictures are in `images`, calibrations in `calibration`, rotations in `transforms`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2, PointField

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.types import Estimate
from featdepth_ros.ros.images import byte_array, image_message, time_message
from featdepth_ros.ros.transforms import fill_pose, transform_message

if TYPE_CHECKING:
    from featdepth_ros.inference.odometry import OdometryState

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
    """Turns depth into organised clouds; keeps the viewing rays of the last camera."""

    FIELDS = tuple(
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(("x", "y", "z", "rgb"))
    )

    def __init__(self) -> None:
        self._camera: CameraModel | None = None
        self._rays: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def _rays_of(self, camera: CameraModel) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if self._rays is None or camera != self._camera:
            x = (np.arange(camera.width) - camera.cx) / camera.fx
            y = (np.arange(camera.height) - camera.cy) / camera.fy
            self._camera, self._rays = camera, (x.astype(np.float32)[None, :], y.astype(np.float32)[:, None])
        return self._rays

    def __call__(self, estimate: Estimate, camera: CameraModel, frame_id: str) -> PointCloud2:
        """Return the cloud of one frame.

        Args:
            estimate: depth and image of (h, w).
            camera: ideal pinhole camera of (h, w).
            frame_id: the camera's optical frame.

        Returns:
            h x w points of x, y, z (float32, depth's unit, optical axes) and rgb (packed as PCL does); NaN without
            value.
        """
        depth = masked_depth(estimate)
        depth[~np.isfinite(depth)] = np.nan
        ray_x, ray_y = self._rays_of(camera)
        points = np.empty((*depth.shape, 4), np.float32)
        np.multiply(depth, ray_x, out=points[..., 0])
        np.multiply(depth, ray_y, out=points[..., 1])
        points[..., 2] = depth
        colour = points.view(np.uint8).reshape(*depth.shape, 16)[..., 12:]
        colour[..., :3] = estimate.image[..., ::-1]  # 0x00RRGGBB, little-endian
        colour[..., 3] = 0
        height, width = depth.shape
        msg = PointCloud2(height=height, width=width, fields=list(self.FIELDS), is_bigendian=False, is_dense=False)
        msg.header.stamp = time_message(estimate.stamp_ns)
        msg.header.frame_id = frame_id
        msg.point_step, msg.row_step = 16, 16 * width
        msg.data = byte_array(points)
        return msg


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
        return transform_message(np.linalg.inv(state.T_odom_base), state.stamp_ns, base_frame, odom_frame)
    return transform_message(state.T_odom_base, state.stamp_ns, odom_frame, base_frame)
