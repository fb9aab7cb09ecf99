"""Ground truth in bags that this package wrote: depth and pose of every frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError, RecordingError
from featdepth_ros.messages.images import depth_from_message
from featdepth_ros.messages.stamps import header_stamp_ns
from featdepth_ros.recordings.bags.source import BagSource
from featdepth_ros.recordings.bags.trajectory import trajectory_of
from featdepth_ros.recordings.bags.transforms import static_transform
from featdepth_ros.recordings.bags.types import GROUND_TRUTH_TOPIC, IMAGE, ODOMETRY, sibling_topic


class BagTruth:
    """Reads depth from the image's sibling ``depth/image_rect``, and poses from ``/ground_truth/odom`` and TF.

    Attributes:
        depth_topic: topic of the depth; None if the bag has none.
    """

    def __init__(self, source: BagSource, image_topic: str, frame_id: str) -> None:
        topic = source.topics.get(sibling_topic(image_topic, "depth/image_rect"))
        self.depth_topic = topic.name if topic is not None and topic.msgtype == IMAGE and topic.convertible else None
        self._source = source
        self._frame_id = frame_id
        self._poses: dict[int, NDArray[np.float64]] | None = None

    def depth(self, message: Any, stamp_ns: int, size: tuple[int, int]) -> NDArray[np.float32] | None:
        """Return the depth of a message, or None if it does not belong to an image of this camera.

        Args:
            message: the depth message.
            stamp_ns: stamp of the image, nanoseconds.
            size: (width, height) of the image in pixels.

        Returns:
            (H, W) float32 metres.
        """
        if header_stamp_ns(message) != stamp_ns or str(message.header.frame_id) != self._frame_id:
            return None
        try:
            depth = depth_from_message(message)
        except ImageError:
            return None
        return depth if (depth.shape[1], depth.shape[0]) == size else None

    def pose(self, stamp_ns: int) -> NDArray[np.float64] | None:
        """Return T_world_camera (4, 4) at exactly that stamp, or None."""
        if self._poses is None:
            self._poses = self._read_poses()
        return self._poses.get(stamp_ns)

    def _read_poses(self) -> dict[int, NDArray[np.float64]]:
        topic = self._source.topics.get(GROUND_TRUTH_TOPIC)
        if topic is None or topic.msgtype != ODOMETRY or not topic.convertible:
            return {}
        try:
            base, poses = trajectory_of(self._source, GROUND_TRUTH_TOPIC)
            extrinsics = np.eye(4) if base == self._frame_id else static_transform(self._source, base, self._frame_id)
        except RecordingError:
            return {}
        return {} if extrinsics is None else {stamp: pose @ extrinsics for stamp, pose in poses}
