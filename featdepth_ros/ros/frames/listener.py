"""Follows /tf and /tf_static, and decides where this node's transform joins the tree and when it must not."""

from __future__ import annotations

import random
import time
from collections import deque

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.subscription import Subscription
from tf2_msgs.msg import TFMessage

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.messages.stamps import header_stamp_ns
from featdepth_ros.ros.compat import keep_last, resolved_topic
from featdepth_ros.ros.frames.tree import RIVAL, Edge, FrameTree, Matrix
from featdepth_ros.ros.transforms import matrix_from_transform, transform_message

#: Seconds within which publishers of /tf_static resend their transforms to a new subscription.
_REPEATED_S = 2.0
#: Longest wait in seconds after a rival publisher has gone. It is random, so that of two waiting nodes one is first.
PATIENCE_S = 3.0


class TransformListener:
    """Receives the robot's transforms, tells the node's own from others', and prevents two parents of one frame.

    Attributes:
        tree: transforms that other nodes publish.
        conflict: why this node's transform is held back; empty: it is not. It is cleared when the reason disappears.
    """

    def __init__(self, node: Node) -> None:
        self.tree = FrameTree()
        self.conflict = ""
        self._node = node
        self._log = node.get_logger()
        self._own: deque[tuple[str, str, int, float, float, float]] = deque(maxlen=256)
        self._root = ""
        self._odom_frame = ""
        self._fixed_publishers = 0
        self._renewed_s: float | None = None
        self._quiet_until = 0.0
        self._moving = node.create_subscription(
            TFMessage,
            "/tf",
            lambda msg: self._receive(msg, static=False),
            keep_last(100, ReliabilityPolicy.BEST_EFFORT),
        )
        self._fixed = self._subscribe_fixed()

    def destroy(self) -> None:
        """Stop listening."""
        for subscription in (self._moving, self._fixed):
            if subscription is not None:
                self._node.destroy_subscription(subscription)
        self._moving = self._fixed = None

    def follow_publishers(self) -> None:
        """Subscribe to /tf_static again after a publisher has gone, which may have been a rival. Executor thread.

        A latched transform cannot be withdrawn, so only the end of its publisher shows that it is obsolete.
        """
        if self._fixed is None:
            return
        count = self._node.count_publishers(resolved_topic(self._node, "/tf_static")[0])
        if count < self._fixed_publishers:
            self._node.destroy_subscription(self._fixed)
            self.tree.new_round()
            self._fixed = self._subscribe_fixed()
            self._renewed_s = time.monotonic()
        self._fixed_publishers = count
        if self._renewed_s is not None and time.monotonic() - self._renewed_s > _REPEATED_S:
            self.tree.drop_unrepeated(self._odom_frame)
            self._renewed_s = None

    def own_transform(
        self, T_odom_base: Matrix, stamp_ns: int, frames: tuple[str, str], invert: bool
    ) -> TransformStamped | None:
        """Return the transform to publish: odom -> root of the robot's tree, or base -> odom.

        Args:
            T_odom_base: (4, 4) pose of the base.
            stamp_ns: stamp of the image, nanoseconds.
            frames: (odom, base).
            invert: return base -> odom, for trees in which the base already has a parent.

        Returns:
            None while another node publishes the transform.
        """
        odom, base = frames
        self._odom_frame = odom
        if invert:
            root, T_root_base, rival = odom, np.eye(4), self.tree.other_parent(odom)
        else:
            attachment = self.tree.attachment(base, odom)
            root, T_root_base, rival = attachment.root, attachment.T_root_base, attachment.rival
        now = time.monotonic()
        if rival:
            self._quiet_until = now + random.uniform(0.0, PATIENCE_S)
            self.conflict = (
                f"{RIVAL} {rival}, and a frame has one parent, so this node's transform is held back. "
                "Set publish_tf to false here, or stop the other publisher"
            )
            self._log.error(self.conflict, throttle_duration_sec=10.0)
            return None
        if now < self._quiet_until:
            return None
        if self.conflict:
            self._log.info("the other publisher of the transform is gone; this node's is published again")
        self.conflict = ""
        if root != self._root:
            above = "" if invert or root == base else f", the root of the tree above {base}"
            self._log.info(f"publishing {base if invert else odom} -> {root}{above}")
            self._root = root
        if invert:
            msg = transform_message(se3.inverse(T_odom_base), stamp_ns, base, odom)
        else:
            msg = transform_message(T_odom_base @ se3.inverse(T_root_base), stamp_ns, odom, root)
        self._own.append(_fingerprint(msg))
        return msg

    def publishes_nothing(self) -> None:
        """Clear `conflict`: this node publishes no transform (any more), so others may."""
        self.conflict = ""
        self._quiet_until = 0.0

    def _subscribe_fixed(self) -> Subscription[TFMessage]:
        return self._node.create_subscription(
            TFMessage,
            "/tf_static",
            lambda msg: self._receive(msg, static=True),
            keep_last(100, ReliabilityPolicy.RELIABLE, transient_local=True),
        )

    def _receive(self, msg: TFMessage, static: bool) -> None:
        for transform in msg.transforms:
            if _fingerprint(transform) in self._own:
                continue
            # Publishers ported from ROS 1 write a leading slash, which tf2 rejects.
            child, parent = transform.child_frame_id.lstrip("/"), transform.header.frame_id.lstrip("/")
            try:
                edge = Edge(parent, matrix_from_transform(transform), static, header_stamp_ns(transform))
            except ValueError as error:
                self._log.warning(
                    f"transform {parent} -> {child} is malformed and ignored: {error}", throttle_duration_sec=10.0
                )
                continue
            self.tree.set(child, edge)


def _fingerprint(msg: TransformStamped) -> tuple[str, str, int, float, float, float]:
    t = msg.transform.translation
    return msg.header.frame_id, msg.child_frame_id, header_stamp_ns(msg), t.x, t.y, t.z
