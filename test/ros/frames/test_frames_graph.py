"""The node's transform in a live tree: late and corrected mountings, roots above the base, and other publishers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from fake_model import FakeEstimator, fake_loaded_model
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from ros_graph import Graph, Probe, wait
from tf2_msgs.msg import TFMessage

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.frames import tree
from featdepth_ros.ros.inputs import ImageInput
from featdepth_ros.ros.node import DepthNode
from featdepth_ros.ros.transforms import matrix_from_transform, transform_message

pytestmark = pytest.mark.ros

START = 1_700_000_000_000_000_000
LATCHED = keep_last(5, ReliabilityPolicy.RELIABLE, transient_local=True)


@pytest.fixture(autouse=True)
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageInput, "GRAPH_CHECK_S", 0.1)
    monkeypatch.setattr(tree, "FORGOTTEN_S", 0.5)


class Robot:
    """The node, a camera that goes on sending, and what comes out."""

    def __init__(self, ros: Graph, **parameters: Any) -> None:
        self.ros, self.probe, self.stamp = ros, Probe(ros), START
        self.tfs, self.odoms = self.probe.hear(TFMessage, "/tf"), self.probe.hear(Odometry, "/odom")
        self.reports = self.probe.hear(DiagnosticArray, "/diagnostics")
        self.settings = {"extrinsics_timeout_s": 0.0, "diagnostics_period_s": 0.1, **parameters}
        ros.add(
            DepthNode(
                load=lambda _: fake_loaded_model(FakeEstimator()),
                context=ros.context,
                cli_args=["--ros-args", "-r", "image_raw:=/camera/image_raw"],
                parameter_overrides=[Parameter(name, value=value) for name, value in self.settings.items()],
            )
        )

    def until(self, condition: Callable[[], Any], what: str) -> None:
        self.stamp = self.probe.send_until(condition, what, self.stamp)

    def ours(self) -> tuple[str, str]:
        transform = self.tfs[-1].transforms[-1] if self.tfs else None
        return (transform.header.frame_id, transform.child_frame_id) if transform else ("", "")

    def fix(self, parent: str, child: str, x: float = 0.0, node: Any = None) -> None:
        T = se3.T_BODY_OPTICAL.copy() if child == "camera_optical" else np.eye(4)
        T[0, 3] = x
        publisher = (node or self.probe.node).create_publisher(TFMessage, "/tf_static", LATCHED)
        publisher.publish(TFMessage(transforms=[transform_message(T, 0, parent, child)]))

    def told(self) -> tuple[int, str]:
        newest = [m.status[0] for m in self.reports if m.status[0].name == "depth_node: pipeline"][-1:]
        return (newest[0].level[0], newest[0].message) if newest else (0, "")


def test_late_and_corrected_mountings_are_taken_while_the_node_publishes(ros: Graph) -> None:
    robot = Robot(ros)
    robot.until(lambda: robot.ours() == ("odom", "camera_optical"), "transforms of the camera itself")
    robot.fix("base_link", "camera_optical", 0.5)
    robot.until(lambda: robot.ours() == ("odom", "base_link"), "the base once its mounting comes")
    assert all("camera_optical" not in (t.child_frame_id) for t in robot.tfs[-1].transforms)
    robot.fix("base_footprint", "base_link", 0.2)
    robot.until(lambda: robot.ours() == ("odom", "base_footprint"), "the root above the base")
    pose = matrix_from_transform(robot.tfs[-1].transforms[0])
    odom = next(m for m in robot.odoms if m.header.stamp == robot.tfs[-1].transforms[0].header.stamp)
    assert odom.child_frame_id == "base_link"
    # odom -> base_footprint -> base_link is the pose that odometry tells
    root_to_base = np.eye(4)
    root_to_base[0, 3] = 0.2
    p = odom.pose.pose.position
    np.testing.assert_allclose((pose @ root_to_base)[:3, 3], [p.x, p.y, p.z], atol=1e-9)
    assert robot.told()[0] == 0


def test_wheel_odometry_stops_ours_with_an_error_and_its_end_clears_it(ros: Graph) -> None:
    robot = Robot(ros)
    wheels = robot.probe.node.create_publisher(TFMessage, "/tf", 10)
    robot.until(lambda: robot.ours() == ("odom", "camera_optical"), "transforms")
    assert robot.told()[0] == 0, "its own transforms come back too"
    theirs = np.eye(4)
    theirs[1, 3] = 7.0

    def turning() -> bool:
        wheels.publish(TFMessage(transforms=[transform_message(theirs, robot.stamp, "odom", "camera_optical")]))
        return robot.told()[0] == 2 and "another node publishes odom -> camera_optical on /tf" in robot.told()[1]

    robot.until(turning, "the error")
    robot.tfs.clear()
    seen = len(robot.odoms)
    robot.until(lambda: turning() and len(robot.odoms) > seen + 3, "odometry of the node goes on")
    assert all(t.transform.translation.y == 7.0 for m in robot.tfs for t in m.transforms), "ours is held back"
    robot.until(lambda: robot.told()[0] == 0 and robot.ours() == ("odom", "camera_optical"), "the all-clear")


def test_a_fixed_rival_holds_ours_back_until_its_publisher_is_gone(ros: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    from featdepth_ros.ros.frames import listener

    monkeypatch.setattr(listener, "_REPEATED_S", 0.5)
    robot = Robot(ros)
    robot.fix("base_link", "camera_optical", 0.5)
    rival = rclpy.create_node("rival", context=ros.context)
    robot.fix("map", "base_link", node=rival)
    robot.until(lambda: robot.told()[0] == 2 and "map -> base_link on /tf_static" in robot.told()[1], "the error")
    time.sleep(0.3)
    robot.tfs.clear()
    seen = len(robot.odoms)
    robot.until(lambda: len(robot.odoms) > seen + 3, "odometry goes on")
    assert not robot.tfs
    rival.destroy_node()
    robot.until(lambda: robot.ours() == ("odom", "base_link"), "ours again")
    robot.until(lambda: robot.told()[0] == 0, "the all-clear")


def test_of_two_nodes_one_publishes_the_transform(ros: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    from featdepth_ros.ros.frames import listener

    monkeypatch.setattr(listener, "PATIENCE_S", 1.0)
    robot = Robot(ros)
    ros.add(
        DepthNode(
            node_name="second",
            load=lambda _: fake_loaded_model(FakeEstimator()),
            context=ros.context,
            cli_args=["--ros-args", "-r", "image_raw:=/camera/image_raw"],
            parameter_overrides=[Parameter(n, value=v) for n, v in robot.settings.items()],
        )
    )

    def levels() -> set[int]:
        newest = {m.status[0].name: m.status[0].level[0] for m in robot.reports}
        return set(newest.values()) if len(newest) == 2 else set()

    since: list[float] = []

    def settled() -> bool:
        if levels() != {0, 2}:
            since.clear()
            return False
        since.append(time.monotonic())
        return since[-1] - since[0] > 2.0

    robot.stamp = robot.probe.send_until(settled, "one in order and one held back, for two seconds", robot.stamp, 60.0)
    robot.tfs.clear()
    robot.until(lambda: len(robot.tfs) > 5, "transforms")
    stamps = [t.header.stamp for m in robot.tfs for t in m.transforms]
    assert len(stamps) == len({(s.sec, s.nanosec) for s in stamps}), "each frame's transform comes once"


def test_a_given_pose_is_taken_and_one_in_another_frame_refused(ros: Graph) -> None:
    robot = Robot(ros)
    given = robot.probe.node.create_publisher(PoseWithCovarianceStamped, "/depth_node/set_pose", 1)
    robot.until(lambda: robot.odoms, "odometry")
    wait(lambda: given.get_subscription_count() > 0, "the node's subscription")
    msg = PoseWithCovarianceStamped()
    msg.header.frame_id = "map"
    msg.pose.pose.position.x, msg.pose.pose.orientation.w = 100.0, 1.0
    given.publish(msg)
    seen = len(robot.odoms)
    robot.until(lambda: len(robot.odoms) > seen + 3, "odometry")
    assert robot.odoms[-1].pose.pose.position.x < 50.0
    msg.header.frame_id = "odom"
    given.publish(msg)
    robot.until(lambda: robot.odoms[-1].pose.pose.position.x >= 100.0, "the given pose")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: setattr(m.header, "frame_id", "map"), "expected 'odom'"),
        (lambda m: setattr(m.pose.pose.orientation, "w", 0.0), "quaternion"),
        (lambda m: setattr(m.pose.pose.position, "x", float("nan")), "not finite"),
        (lambda m: m.pose.covariance.__setitem__(0, -1.0), "negative"),
    ],
)
def test_poses_that_are_none_are_refused(change: Callable[[Any], None], says: str) -> None:
    from featdepth_ros.ros.frames.pose_message import given_pose

    msg = PoseWithCovarianceStamped()
    msg.pose.pose.orientation.w = 1.0
    assert np.array_equal(given_pose(msg, "odom").T_odom_base, np.eye(4))
    change(msg)
    with pytest.raises(ValueError, match=says):
        given_pose(msg, "odom")
