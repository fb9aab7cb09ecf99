"""Rigid transforms as messages, and a small listener for /tf and /tf_static.

tf2_ros is not used: its Python side needs the C++ tf2_py, which a plain package installation does not have. What the
node needs is little: the fixed transform between its camera and its base, and a warning when someone else moves the
base.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Pose, Quaternion, TransformStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from tf2_msgs.msg import TFMessage

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.messages.stamps import header_stamp_ns
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.images import header_message

Matrix = NDArray[np.float64]


def fill_quaternion(msg: Quaternion, rotation: Matrix) -> None:
    """Write a rotation matrix into a quaternion message."""
    msg.x, msg.y, msg.z, msg.w = (float(v) for v in se3.quaternion_from_matrix(rotation))


def fill_pose(msg: Pose, pose: Matrix) -> None:
    """Write a (4, 4) pose into a pose message."""
    msg.position.x, msg.position.y, msg.position.z = (float(v) for v in pose[:3, 3])
    fill_quaternion(msg.orientation, pose)


def transform_message(T_parent_child: Matrix, stamp: int, parent: str, child: str) -> TransformStamped:
    """Return a stamped transform: maps points in ``child`` to ``parent``, which is the pose of child in parent."""
    msg = TransformStamped(header=header_message(stamp, parent), child_frame_id=child)
    t = msg.transform.translation
    t.x, t.y, t.z = (float(v) for v in T_parent_child[:3, 3])
    fill_quaternion(msg.transform.rotation, T_parent_child)
    return msg


def matrix_from_transform(msg: TransformStamped) -> Matrix:
    """Return T_parent_child (4, 4).

    Raises:
        ValueError: the rotation is zero or not finite.
    """
    q, t = msg.transform.rotation, msg.transform.translation
    T = se3.from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
    if not np.isfinite(T).all():
        raise ValueError("the translation is not finite")
    return T


@dataclass(frozen=True)
class Edge:
    """The transform between a frame and its parent."""

    parent: str
    T_parent_child: Matrix
    static: bool


@dataclass(frozen=True)
class Extrinsics:
    """Where the camera sits.

    Attributes:
        base: the frame whose motion is reported.
        T_base_camera: (4, 4), or None when the camera's own frame is the base.
        moving: frames on the way whose transform came on /tf, not /tf_static (a pan-tilt head?).
    """

    base: str
    T_base_camera: Matrix | None
    moving: tuple[str, ...] = ()


class FrameTree:
    """Parents of frames, as heard. Not a buffer: the newest value of each transform, no history."""

    def __init__(self) -> None:
        self._edges: dict[str, Edge] = {}

    def set(self, child: str, edge: Edge) -> None:
        """Remember the newest transform of a frame."""
        self._edges[child] = edge

    def is_static(self, child: str) -> bool:
        """Return True when the frame's transform came on /tf_static."""
        edge = self._edges.get(child)
        return edge is not None and edge.static

    def parent(self, child: str) -> str | None:
        """Return the name of a frame's parent, None when it has none."""
        edge = self._edges.get(child)
        return None if edge is None else edge.parent

    def extrinsics(self, camera: str, base: str, odom: str) -> Extrinsics | None:
        """Return the way from a camera to its base; None when the camera's frame has no parent at all.

        Without a connection to ``base`` the root of the camera's own tree stands in (``camera_link`` of a driver that
        nobody mounted on a robot), because giving the optical frame a second parent would break the tree.
        """
        names = [camera]
        T = np.eye(4)
        moving: list[str] = []
        while names[-1] != base:
            edge = self._edges.get(names[-1])
            if edge is None or edge.parent == odom or edge.parent in names:
                break
            T = edge.T_parent_child @ T
            if not edge.static:
                moving.append(names[-1])
            names.append(edge.parent)
        if len(names) == 1:
            return Extrinsics(base, None) if camera == base else None
        return Extrinsics(names[-1], T, tuple(moving))


class TransformListener:
    """Follows /tf_static and /tf, and notices a second publisher of the transform this node publishes."""

    def __init__(self, node: Node, on_conflict: Callable[[str], None]) -> None:
        self.tree = FrameTree()
        self._node = node
        self._on_conflict = on_conflict
        self._own: deque[tuple[int, float, float, float]] = deque(maxlen=256)
        self._own_child = ""
        self._subscriptions = [
            node.create_subscription(
                TFMessage,
                "/tf_static",
                lambda msg: self._receive(msg, static=True),
                keep_last(100, ReliabilityPolicy.RELIABLE, transient_local=True),
            ),
            node.create_subscription(
                TFMessage,
                "/tf",
                lambda msg: self._receive(msg, static=False),
                keep_last(100, ReliabilityPolicy.BEST_EFFORT),
            ),
        ]

    def destroy(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def note_own(self, msg: TransformStamped) -> None:
        """Remember a transform this node is about to publish, to tell it from others' when it comes back."""
        self._own.append(_fingerprint(msg))
        self._own_child = msg.child_frame_id

    def forget_own(self) -> None:
        """This node publishes no transform (any more): whoever else does may."""
        self._own.clear()
        self._own_child = ""

    def _receive(self, msg: TFMessage, static: bool) -> None:
        for transform in msg.transforms:
            child = transform.child_frame_id.lstrip("/")
            parent = transform.header.frame_id.lstrip("/")
            if child == self._own_child:
                if _fingerprint(transform) not in self._own:
                    topic = "/tf_static" if static else "/tf"
                    self._on_conflict(
                        f"someone else publishes {parent} -> {child} on {topic} too: a frame has one parent. "
                        "Set publish_tf to false here or there, or invert_tf here."
                    )
                continue
            if not static and self.tree.is_static(child):
                continue
            try:
                self.tree.set(child, Edge(parent, matrix_from_transform(transform), static))
            except ValueError as error:
                self._on_conflict(f"transform {parent} -> {child} is malformed and ignored: {error}")


def _fingerprint(msg: TransformStamped) -> tuple[int, float, float, float]:
    t = msg.transform.translation
    return header_stamp_ns(msg), t.x, t.y, t.z
