"""The path of the base as nav_msgs/Path, for RViz and for recordings of a drive."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from rclpy.node import Node
from rclpy.qos import QoSProfile

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.odometry import OdometryState
from featdepth_ros.ros.frames.tree import Matrix
from featdepth_ros.ros.images import header_message
from featdepth_ros.ros.outputs.lazy import is_wanted
from featdepth_ros.ros.transforms import fill_pose

#: A pose is kept if it is this far from the last one (metres or model units), or rotated by this angle (rad).
_STEP, _TURN = 0.05, 0.05
#: Number of poses in a message. At twice this number, every second pose is dropped and the steps are doubled.
_MOST = 2000


class PathOutput:
    """Publishes ``~/path``. Poses are always kept; the message is only created for subscribers.

    The path restarts when the pose jumps: after a reset, a given pose, or a change of the base.
    """

    def __init__(self, node: Node, topic: str, qos: QoSProfile) -> None:
        self._node = node
        self._publisher = node.create_publisher(Path, topic, qos)
        self._poses: list[PoseStamped] = []
        self._last: Matrix | None = None
        self._starts = 0
        self._coarser = 1

    def destroy(self) -> None:
        """Destroy the publisher."""
        self._node.destroy_publisher(self._publisher)

    def add(self, state: OdometryState, odom_frame: str, starts: int, lazy: bool) -> None:
        """Add a pose, and publish the path if it has a subscriber.

        Args:
            state: odometry after a frame.
            odom_frame: frame of the poses.
            starts: number of restarts of the pose; see `BaseFrame.starts`.
            lazy: publish only for subscribers.
        """
        if starts != self._starts:
            self._poses, self._last, self._starts, self._coarser = [], None, starts, 1
        if self._last is None or self._is_apart(self._last, state.T_odom_base):
            self._last = state.T_odom_base
            self._poses.append(PoseStamped(header=header_message(state.stamp_ns, odom_frame)))
            fill_pose(self._poses[-1].pose, state.T_odom_base)
        if len(self._poses) >= 2 * _MOST:
            self._poses, self._coarser = self._poses[::2], self._coarser * 2
        if is_wanted(self._publisher, lazy):
            self._publisher.publish(Path(header=header_message(state.stamp_ns, odom_frame), poses=self._poses))

    def _is_apart(self, last: Matrix, pose: Matrix) -> bool:
        step = se3.log(se3.inverse(last) @ pose)
        distance, turn = np.linalg.norm(step[se3.TRANSLATION]), np.linalg.norm(step[se3.ROTATION])
        return bool(distance > _STEP * self._coarser or turn > _TURN * self._coarser)
