"""Converts an Estimate to ROS messages: depth images (REP-117, REP-118), sigma, tracks, clouds, odometry.

The package `messages` computes the content of images and clouds; `transforms` converts rotations.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2, PointField

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.odometry import OdometryState
from featdepth_ros.inference.types import Estimate
from featdepth_ros.messages.encode import DepthEncoding, depth_fields, marked_depth
from featdepth_ros.messages.point_cloud import POINT_FIELDS, OrganisedCloud
from featdepth_ros.ros.images import filled, header_message, image_message
from featdepth_ros.ros.transforms import fill_pose


def masked_depth(estimate: Estimate) -> NDArray[np.float32]:
    """Return depth (h, w), float32, with the special values of REP-117 for invalid pixels; see `marked_depth`."""
    limits = (estimate.min_depth, estimate.max_depth)
    return marked_depth(estimate.depth, estimate.valid, estimate.in_image, limits)


def depth_image(estimate: Estimate, encoding: DepthEncoding, frame_id: str) -> Image:
    """Return the depth image of REP-118: 32FC1 metres with REP-117's values, or 16UC1 millimetres with 0 instead."""
    fields = depth_fields(masked_depth(estimate), encoding)
    return filled(Image(header=header_message(estimate.stamp_ns, frame_id)), fields)


def sigma_image(estimate: Estimate, frame_id: str) -> Image:
    """Return the standard deviation of depth, 32FC1 in the unit of depth, NaN where depth is invalid.

    Raises:
        ValueError: the estimate has no sigma.
    """
    if estimate.sigma is None:
        raise ValueError("the model gives no standard deviation of depth")
    usable = np.isfinite(masked_depth(estimate))
    sigma = np.where(usable, estimate.sigma, np.float32(np.nan)).astype(np.float32)
    return image_message(sigma, "32FC1", estimate.stamp_ns, frame_id)


#: Drawing of tracks: colour of points without parallax (RGB), fractional bits of a pixel, image columns per pixel of
#: radius.
_UNMEASURED, _SHIFT, _COLUMNS_A_RADIUS = (160, 160, 160), 4, 320


@cache
def _far_to_near() -> NDArray[np.uint8]:
    """Return a (256, 3) uint8 RGB table from blue to red. It is cached, as OpenCV needs 6 ms for it in every call."""
    steps = np.linspace(25, 225, 256).astype(np.uint8)  # the ends of the colour map are too dark
    return np.ascontiguousarray(cv2.applyColorMap(steps, cv2.COLORMAP_TURBO)[:, 0, ::-1])


def tracks_image(estimate: Estimate, frame_id: str) -> Image:
    """Return the rectified image (rgb8) with the window's points: red is near, blue far, grey not measured yet.

    The colours are linear in inverse depth, from the 5th to the 95th percentile of the points that images measured.

    Raises:
        ValueError: the estimate has no camera.
    """
    if estimate.camera is None:
        raise ValueError("the estimate has no camera, so there are no tracks to draw")
    picture, window = estimate.image.copy(), estimate.window
    if window is not None and window.camera is not None and len(window.points):
        points, theirs, ours = window.points, window.camera, estimate.camera
        focal = np.array([ours.fx / theirs.fx, ours.fy / theirs.fy])
        pixels = (points.pixels - (theirs.cx, theirs.cy)) * focal + (ours.cx, ours.cy)
        measured, inverse = points.information > 0, 1.0 / points.depth
        far, near = np.percentile(inverse[measured], (5, 95)) if measured.any() else (0.0, 1.0)
        share = np.clip((inverse - far) / max(near - far, 1e-9), 0.0, 1.0)
        colours = _far_to_near()[np.rint(share * 255).astype(int)]
        radius = round(max(picture.shape[1] / _COLUMNS_A_RADIUS, 1.5) * 2**_SHIFT)
        for (x, y), colour, seen in zip(np.rint(pixels * 2**_SHIFT).astype(int), colours, measured, strict=True):
            drawn = tuple(int(c) for c in colour) if seen else _UNMEASURED
            cv2.circle(picture, (int(x), int(y)), radius, drawn, 1, cv2.LINE_AA, _SHIFT)
    return image_message(picture, "rgb8", estimate.stamp_ns, frame_id)


class CloudMaker:
    """Converts depth to organised PointCloud2 messages; message and memory are reused from frame to frame."""

    def __init__(self) -> None:
        self._cloud: OrganisedCloud | None = None
        self._msg = PointCloud2()

    def __call__(self, estimate: Estimate, camera: CameraModel, frame_id: str) -> PointCloud2:
        """Return the cloud of one frame; the next call overwrites it, so publish (or copy) it first.

        Args:
            estimate: depth and image, both (h, w).
            camera: pinhole camera without distortion, of size (h, w).
            frame_id: the camera's optical frame.
        """
        if self._cloud is None or camera != self._cloud.camera:
            self._cloud = OrganisedCloud(camera)
            points = PointCloud2(fields=[PointField(**field) for field in POINT_FIELDS])
            self._msg = filled(points, self._cloud.fields())
            self._cloud.share(self._msg.data)
        self._cloud.fill(masked_depth(estimate), estimate.image)
        self._msg.header = header_message(estimate.stamp_ns, frame_id)
        return self._msg


def odometry_message(state: OdometryState, odom_frame: str, base_frame: str) -> Odometry:
    """Return nav_msgs/Odometry: pose of the base in ``odom_frame``, twist in ``base_frame`` (REP-105)."""
    msg = Odometry(header=header_message(state.stamp_ns, odom_frame), child_frame_id=base_frame)
    fill_pose(msg.pose.pose, state.T_odom_base)
    msg.pose.covariance = [float(v) for v in np.asarray(state.pose_covariance).ravel()]
    linear, angular = msg.twist.twist.linear, msg.twist.twist.angular
    linear.x, linear.y, linear.z = (float(v) for v in state.linear)
    angular.x, angular.y, angular.z = (float(v) for v in state.angular)
    msg.twist.covariance = [float(v) for v in np.asarray(state.twist_covariance).ravel()]
    return msg
