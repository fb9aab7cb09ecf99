"""The node's publishers: those of each camera, and those of motion. Messages without a subscriber are not computed."""

from __future__ import annotations

from typing import Any, cast

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from featdepth_ros.inference.odometry import OdometryState
from featdepth_ros.inference.types import Estimate, MotionState
from featdepth_ros.messages.encode import DepthEncoding
from featdepth_ros.ros.calibration import info_from_camera
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.conversions import (
    CloudMaker,
    depth_image,
    odometry_message,
    sigma_image,
    tracks_image,
)
from featdepth_ros.ros.frames.listener import TransformListener
from featdepth_ros.ros.frames.tree import FrameTree
from featdepth_ros.ros.images import header_message, image_message
from featdepth_ros.ros.outputs.extras import ExtraOutputs
from featdepth_ros.ros.outputs.lazy import is_wanted
from featdepth_ros.ros.outputs.path import PathOutput
from featdepth_ros.ros.parameters.settings import Settings


def _reliability(settings: Settings) -> ReliabilityPolicy:
    reliable = settings.publisher_reliability == "reliable"
    return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT


class CameraOutputs:
    """Publishers of one camera's results. Only one thread at a time may publish.

    Args:
        node: node whose private topics they are.
        settings: the parameters.
        tree: transforms of the robot, for the mounting of the camera.
        camera: name of one of several cameras, a prefix of its topics; empty for a single camera.
    """

    def __init__(self, node: Node, settings: Settings, tree: FrameTree, camera: str = "") -> None:
        self._node = node
        self._cloud = CloudMaker()
        newest = keep_last(1, _reliability(settings))
        before = f"~/{camera}/" if camera else "~/"
        self._depth = node.create_publisher(Image, f"{before}depth/image_rect", newest)
        self._depth_info = node.create_publisher(CameraInfo, f"{before}depth/camera_info", newest)
        self._sigma = node.create_publisher(Image, f"{before}depth/sigma", newest)
        self._points = node.create_publisher(PointCloud2, f"{before}points", newest)
        self._image = node.create_publisher(Image, f"{before}image_rect", newest)
        self._tracks = node.create_publisher(Image, f"{before}tracks", newest)
        self._extras = ExtraOutputs(node, before, newest, tree)

    def destroy(self) -> None:
        """Take the topics down."""
        for publisher in (self._depth, self._depth_info, self._sigma, self._points, self._image, self._tracks):
            self._node.destroy_publisher(publisher)
        self._extras.destroy()

    def publish_frame(self, estimate: Estimate, frame_id: str, settings: Settings) -> None:
        """Publish the subscribed topics of one frame: depth with camera_info, sigma, cloud, image and tracks.

        Tracks come from a window of frames. While the camera stands there are none, and the tracks image has no points.
        """

        def wanted(publisher: Publisher[Any]) -> bool:
            return is_wanted(publisher, settings.lazy)

        depth, info = wanted(self._depth), wanted(self._depth_info)
        if depth or info:
            self._depth_info.publish(_depth_info(estimate, frame_id))
        if depth:
            encoding = cast("DepthEncoding", settings.depth_encoding)
            self._depth.publish(depth_image(estimate, encoding, frame_id))
        if estimate.sigma is not None and wanted(self._sigma):
            self._sigma.publish(sigma_image(estimate, frame_id))
        if estimate.camera is not None and wanted(self._points):
            self._points.publish(self._cloud(estimate, estimate.camera, frame_id))
        if wanted(self._image):
            self._image.publish(image_message(estimate.image, "rgb8", estimate.stamp_ns, frame_id))
        tracked = estimate.window is not None or estimate.motion.state is MotionState.STANDING
        if tracked and estimate.camera is not None and wanted(self._tracks):
            self._tracks.publish(tracks_image(estimate, frame_id))
        self._extras.publish(estimate, frame_id, settings, lambda: _depth_info(estimate, frame_id))


class MotionOutputs:
    """Publishers of odometry and TF, of which a robot has one. Only one thread at a time may publish."""

    def __init__(self, node: Node, settings: Settings, listener: TransformListener) -> None:
        self._node = node
        self._listener = listener
        # Filters integrate every odometry message, so the queue holds a few.
        self._odometry = node.create_publisher(Odometry, "odom", keep_last(10, _reliability(settings)))
        self._path = PathOutput(node, "~/path", keep_last(1, _reliability(settings)))
        self._tf = node.create_publisher(TFMessage, "/tf", keep_last(100, ReliabilityPolicy.RELIABLE))

    def destroy(self) -> None:
        """Take the topics down."""
        for publisher in (self._odometry, self._tf):
            self._node.destroy_publisher(publisher)
        self._path.destroy()

    def publish(self, state: OdometryState, base_frame: str, settings: Settings, starts: int) -> None:
        """Publish odometry and, if enabled, path and transform, with the stamp of the frame.

        Args:
            state: odometry after the frame.
            base_frame: frame whose pose it is.
            settings: the parameters.
            starts: number of restarts of the pose; see `BaseFrame.starts`.
        """
        self._odometry.publish(odometry_message(state, settings.odom_frame, base_frame))
        self._path.add(state, settings.odom_frame, starts, settings.lazy)
        if not settings.publish_tf:
            self._listener.publishes_nothing()
            return
        frames = (settings.odom_frame, base_frame)
        transform = self._listener.own_transform(state.T_odom_base, state.stamp_ns, frames, settings.invert_tf)
        if transform is not None:
            self._tf.publish(TFMessage(transforms=[transform]))


def _depth_info(estimate: Estimate, frame_id: str) -> CameraInfo:
    if estimate.camera is not None:
        return info_from_camera(estimate.camera, estimate.stamp_ns, frame_id)
    height, width = estimate.depth.shape
    header = header_message(estimate.stamp_ns, frame_id)
    return CameraInfo(header=header, width=width, height=height)  # K[0] == 0: uncalibrated (REP-104)
