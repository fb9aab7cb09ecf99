"""Converts frames to messages: image, calibration, depth, true odometry and transforms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.recordings.bags import types as bag_types
from featdepth_ros.recordings.bags.messages import Messages
from featdepth_ros.recordings.bags.types import GROUND_TRUTH_TOPIC, sibling_topic
from featdepth_ros.recordings.frame import Frame

#: TF child of the true pose; not ``base_link``, which the node under test publishes (a frame has one parent).
GROUND_TRUTH_FRAME = "base_link_ground_truth"


class MessageSink(Protocol):
    """Destination of messages: a bag, or a player's queue. ``counts`` has an entry for each topic added so far."""

    counts: dict[str, int]

    def add_topic(self, topic: str, msgtype: str, transient_local: bool = False) -> None:
        """Add a topic before its first message."""
        ...

    def write_message(self, topic: str, log_ns: int, message: Any) -> None:
        """Write a message of the standard type store, with its log time in nanoseconds."""
        ...


class FrameMessages:
    """Writes frames as messages. A topic is added with the first frame that has content for it.

    `bags.export.write_ros2_bag` describes topics and frames. With ``compressed``, images are JPEG on
    ``image_topic/compressed`` instead. ``mounts`` are the (4, 4) poses of other sensors' frames on the base.
    """

    def __init__(
        self,
        sink: MessageSink,
        image_topic: str,
        frame_id: str,
        base_frame: str = "base_link",
        odom_frame: str = "odom",
        map_frame: str = "map",
        T_base_camera: NDArray[np.float64] | None = None,
        compressed: bool = False,
        mounts: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> None:
        self._sink = sink
        self._compressed = compressed
        self._make = Messages()
        self._image_topic, self._frame_id = image_topic, frame_id
        self._base_frame, self._odom_frame, self._map_frame = base_frame, odom_frame, map_frame
        self._T_base_camera = se3.T_BODY_OPTICAL if T_base_camera is None else T_base_camera
        self._mounts = mounts or {}
        self._T_start_world: NDArray[np.float64] | None = None
        self._previous: tuple[int, NDArray[np.float64]] | None = None

    def write(self, frame: Frame) -> None:
        """Write all messages of a frame.

        Raises:
            RecordingError: the stamp is negative.
        """
        if frame.stamp_ns < 0:
            raise RecordingError(f"frame {frame.name} has stamp {frame.stamp_ns} ns; a bag needs stamps of at least 0")
        self._write_static(frame)
        header = self._make.header(frame.stamp_ns, self._frame_id)
        if self._compressed:
            self._put(f"{self._image_topic}/compressed", frame.stamp_ns, self._make.jpeg(header, frame.image))
        else:
            self._put(self._image_topic, frame.stamp_ns, self._make.image(header, frame.image, "rgb8"))
        if frame.camera is not None:
            info = self._make.camera_info(header, frame.camera)
            self._put(sibling_topic(self._image_topic), frame.stamp_ns, info)
        if frame.depth is not None:
            depth = self._make.image(header, np.asarray(frame.depth, np.float32), "32FC1")
            self._put(sibling_topic(self._image_topic, "depth/image_rect"), frame.stamp_ns, depth)
            if frame.camera is not None:
                info = self._make.camera_info(header, frame.camera)
                self._put(sibling_topic(self._image_topic, "depth/camera_info"), frame.stamp_ns, info)
        if frame.T_world_camera is not None:
            self._write_truth(frame.stamp_ns, frame.T_world_camera)

    def _put(self, topic: str, stamp_ns: int, message: object) -> None:
        if topic not in self._sink.counts:
            self._sink.add_topic(topic, message.__msgtype__)  # type: ignore[attr-defined]
        self._sink.write_message(topic, stamp_ns, message)

    def _write_static(self, frame: Frame) -> None:
        if "/tf_static" in self._sink.counts:
            return
        make, stamp = self._make, frame.stamp_ns
        frames = {self._frame_id: self._T_base_camera, **self._mounts}
        transforms = [make.tf(make.header(stamp, self._base_frame), name, T) for name, T in frames.items()]
        if frame.T_world_camera is not None:
            transforms.append(make.tf(make.header(stamp, self._map_frame), self._odom_frame, np.eye(4)))
        self._sink.add_topic("/tf_static", bag_types.TF_MESSAGE, transient_local=True)
        self._sink.write_message("/tf_static", stamp, make.tf2_msgs__TFMessage(transforms=transforms))

    def _write_truth(self, stamp_ns: int, T_world_camera: NDArray[np.float64]) -> None:
        if self._T_start_world is None:
            self._T_start_world = self._T_base_camera @ se3.inverse(T_world_camera)
        pose = self._T_start_world @ T_world_camera @ se3.inverse(self._T_base_camera)
        velocity = np.zeros(6)
        if self._previous is not None and stamp_ns > self._previous[0]:
            velocity = _velocity(self._previous[1], pose, (stamp_ns - self._previous[0]) * 1e-9)
        self._previous = (stamp_ns, pose)
        header = self._make.header(stamp_ns, self._map_frame)
        self._put(GROUND_TRUTH_TOPIC, stamp_ns, self._make.odometry(header, self._base_frame, pose, velocity))
        moving = self._make.tf(header, GROUND_TRUTH_FRAME, pose)
        self._put("/tf", stamp_ns, self._make.tf2_msgs__TFMessage(transforms=[moving]))


def _velocity(earlier: NDArray[np.float64], later: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Return the mean linear and angular velocity between two poses, in the later pose's own axes."""
    motion = se3.inverse(later) @ earlier  # the earlier pose in the coordinates of the later one
    return np.concatenate([-motion[:3, 3], -se3.vector_from_rotation(motion[:3, :3])]) / seconds
