"""Additional topics of one camera: coloured and compressed images, and the filtered cloud for costmaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.types import Estimate
from featdepth_ros.messages.cloud_filter import CloudFilter
from featdepth_ros.messages.colours import SceneRange, depth_colours
from featdepth_ros.messages.compressed_depth import compressed_depth_fields
from featdepth_ros.messages.encode import DepthEncoding, byte_array, jpeg_fields
from featdepth_ros.messages.point_cloud import POINT_FIELDS, OrganisedCloud
from featdepth_ros.ros.conversions import masked_depth
from featdepth_ros.ros.frames.tree import FrameTree
from featdepth_ros.ros.images import filled, header_message, image_message
from featdepth_ros.ros.outputs.lazy import is_wanted
from featdepth_ros.ros.parameters.settings import Settings


class ExtraOutputs:
    """Publishers of one camera's additional topics. A message is computed only if its topic has a subscriber.

    Args:
        node: node whose private topics they are.
        before: prefix of the topic names: ``~/`` or ``~/<camera>/``.
        qos: QoS of all publishers.
        tree: transforms of the robot, for heights above the base.
    """

    def __init__(self, node: Node, before: str, qos: QoSProfile, tree: FrameTree) -> None:
        self._node = node
        self._tree = tree
        self._range = SceneRange()
        self._cloud: OrganisedCloud | None = None
        self._info = node.create_publisher(CameraInfo, f"{before}camera_info", qos)
        self._jpeg = node.create_publisher(CompressedImage, f"{before}image_rect/compressed", qos)
        self._colour = node.create_publisher(Image, f"{before}depth/color", qos)
        self._colour_jpeg = node.create_publisher(CompressedImage, f"{before}depth/color/compressed", qos)
        self._network = node.create_publisher(Image, f"{before}depth/network", qos)
        self._png = node.create_publisher(CompressedImage, f"{before}depth/image_rect/compressedDepth", qos)
        self._filtered = node.create_publisher(PointCloud2, f"{before}points_filtered", qos)

    def destroy(self) -> None:
        """Destroy the publishers."""
        pictures = (self._jpeg, self._colour, self._colour_jpeg, self._network, self._png)
        for publisher in (self._info, *pictures, self._filtered):
            self._node.destroy_publisher(publisher)

    def publish(
        self, estimate: Estimate, frame_id: str, settings: Settings, make_info: Callable[[], CameraInfo]
    ) -> None:
        """Publish the subscribed topics of one frame.

        Args:
            estimate: estimate of the frame.
            frame_id: optical frame of the camera.
            settings: the parameters.
            make_info: returns the camera_info of depth and image.
        """

        def wanted(publisher: Publisher[Any]) -> bool:
            return is_wanted(publisher, settings.lazy)

        header = header_message(estimate.stamp_ns, frame_id)
        if wanted(self._info):
            self._info.publish(make_info())
        if wanted(self._jpeg):
            self._jpeg.publish(filled(CompressedImage(header=header), jpeg_fields(estimate.image)))
        if estimate.network_depth is not None and wanted(self._network):
            self._network.publish(image_message(estimate.network_depth, "32FC1", estimate.stamp_ns, frame_id))
        colour, colour_jpeg = wanted(self._colour), wanted(self._colour_jpeg)
        if colour or colour_jpeg:
            depth = masked_depth(estimate)
            shown = np.where(np.isneginf(depth), np.float32(estimate.min_depth), depth)
            picture = np.ascontiguousarray(depth_colours(shown, *self._range.update(depth)))
            if colour:
                self._colour.publish(image_message(picture, "rgb8", estimate.stamp_ns, frame_id))
            if colour_jpeg:
                self._colour_jpeg.publish(filled(CompressedImage(header=header), jpeg_fields(picture)))
        if wanted(self._png):
            encoding = cast("DepthEncoding", settings.depth_encoding)
            fields = compressed_depth_fields(masked_depth(estimate), encoding, estimate.max_depth)
            self._png.publish(filled(CompressedImage(header=header), fields))
        if estimate.camera is not None and wanted(self._filtered):
            self._filtered.publish(self._filtered_cloud(estimate, header, settings))

    def _filtered_cloud(self, estimate: Estimate, header: Header, settings: Settings) -> PointCloud2:
        assert estimate.camera is not None
        if self._cloud is None or self._cloud.camera != estimate.camera:
            self._cloud = OrganisedCloud(estimate.camera)
        self._cloud.fill(masked_depth(estimate), estimate.image)
        points = np.frombuffer(self._cloud.data, np.float32).reshape(-1, 4)
        stay = cloud_filter(settings).kept(points, self._pose(header.frame_id, estimate.stamp_ns, settings))
        fields = self._cloud.fields()
        if settings.cloud_dense:
            points = points[stay]
            row = fields["point_step"] * len(points)
            fields |= {"height": 1, "width": len(points), "row_step": row, "is_dense": True}
        else:
            points = np.where(stay[:, None], points, np.float32(np.nan))
        fields["data"] = byte_array(points)
        message = PointCloud2(header=header)
        message.fields = [PointField(**field) for field in POINT_FIELDS]
        return filled(message, fields)

    def _pose(self, frame_id: str, stamp_ns: int, settings: Settings) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return T_base_camera (4, 4). Without extrinsics the base is at the camera, with x forward and z up."""
        extrinsics = self._tree.extrinsics(frame_id, settings.base_frame, settings.odom_frame, stamp_ns)
        if extrinsics is None or extrinsics.T_base_camera is None or extrinsics.missing:
            return _UPRIGHT
        return extrinsics.T_base_camera


#: Orientation of a forward-looking optical frame, whose -y axis points up.
_UPRIGHT = se3.T_BODY_OPTICAL


def cloud_filter(settings: Settings) -> CloudFilter:
    """Return the cloud filter for the parameters ``cloud_*``."""
    return CloudFilter(
        settings.cloud_min_height_m, settings.cloud_max_height_m, settings.cloud_max_range_m, settings.cloud_voxel_m
    )
