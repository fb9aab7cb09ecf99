"""What robot builders do to a node: two cameras on one topic, names of their own, switches in a hurry, wrong values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fake_model import FakeEstimator, fake_loaded_model
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from ros_graph import Graph, Probe, wait
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.inputs import ImageInput
from featdepth_ros.ros.node import DepthNode, StartError
from featdepth_ros.ros.transforms import transform_message

pytestmark = pytest.mark.ros

START = 1_700_000_000_000_000_000
REMAPPED = ["--ros-args", "-r", "image_raw:=/camera/image_raw"]


@pytest.fixture(autouse=True)
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageInput, "GRAPH_CHECK_S", 0.1)


def node(ros: Graph, arguments: list[str] = REMAPPED, **options: Any) -> DepthNode:
    values = {"extrinsics_timeout_s": 0.0, "diagnostics_period_s": 0.1, **options.pop("parameters", {})}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    made = DepthNode(
        load=lambda _: fake_loaded_model(FakeEstimator()),
        context=ros.context,
        cli_args=arguments,
        parameter_overrides=overrides,
        **options,
    )
    return ros.add(made)  # type: ignore[no-any-return]


def told(reports: list[Any]) -> tuple[int, str]:
    newest = [s for m in reports[-1:] for s in m.status]
    return (newest[0].level[0], newest[0].message) if newest else (0, "")


def test_two_cameras_on_one_topic_are_told_until_one_is_gone(ros: Graph) -> None:
    probe, other = Probe(ros), Probe(ros, name="other_driver")
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    node(ros)
    stamp = probe.send_until(lambda: "2 nodes publish /camera/image_raw" in told(reports)[1], "both are seen", START)
    assert told(reports)[0] == 1
    other.node.destroy_publisher(other.images)
    probe.send_until(lambda: told(reports)[0] == 0 and "frames/s" in told(reports)[1], "one is left", stamp)


def test_one_robot_of_many_has_its_own_names_and_its_own_tree(ros: Graph) -> None:
    probe = Probe(ros, camera="r1/cam")
    odoms, depths = probe.hear(Odometry, "/r1/odom"), probe.hear(Image, "/r1/eye/depth/image_rect")
    tfs, foreign = probe.hear(TFMessage, "/r1/tf"), probe.hear(TFMessage, "/tf")
    static = probe.node.create_publisher(
        TFMessage, "/r1/tf_static", keep_last(5, ReliabilityPolicy.RELIABLE, transient_local=True)
    )
    static.publish(TFMessage(transforms=[transform_message(np.eye(4), 0, "base_link", probe.frame_id)]))
    names = ["-r", "image_raw:=cam/image_raw", "-r", "/tf:=tf", "-r", "/tf_static:=tf_static"]
    made = node(ros, ["--ros-args", *names], namespace="r1", node_name="eye", parameters={"extrinsics_timeout_s": 20.0})
    probe.send_until(lambda: len(odoms) > 2 and len(depths) > 2 and len(tfs) > 2, "its answers", START)
    assert odoms[-1].child_frame_id == tfs[-1].transforms[0].child_frame_id == "base_link" and not foreign
    assert made._listener is not None
    wait(lambda: made._listener is not None and made._listener._fixed_publishers == 1, "the publisher that it counts")


def test_switches_and_resets_in_a_hurry_leave_a_node_that_answers(ros: Graph) -> None:
    probe = Probe(ros)
    odoms, reports = probe.hear(Odometry, "/odom"), probe.hear(DiagnosticArray, "/diagnostics")
    made = node(ros)
    stamp = probe.send_until(lambda: len(odoms) > 2, "odometry", START)
    switch, reset = (
        probe.node.create_client(kind, f"/depth_node/{name}")
        for kind, name in ((SetBool, "enable"), (Trigger, "reset_odometry"))
    )
    assert switch.wait_for_service(timeout_sec=20.0) and reset.wait_for_service(timeout_sec=20.0)
    for _ in range(15):
        probe.send(stamp)
        stamp += 50_000_000
        # No more at once than a service keeps.
        asked = [switch.call_async(SetBool.Request(data=on)) for on in (False, True, False, True)]
        asked.append(reset.call_async(Trigger.Request()))
        wait(lambda asked=asked: all(one.done() for one in asked), "an answer of each")
        assert all(one.result().success for one in asked)
    count = len(odoms)
    stamp = probe.send_until(lambda: len(odoms) > count + 3, "odometry again", stamp)
    subscribed = [s.topic for s in made.subscriptions if s.topic == "/camera/image_raw"]
    assert len(subscribed) == 1, "no subscription is left behind"
    probe.send_until(lambda: told(reports)[0] == 0, "no lasting complaint", stamp)


def test_values_that_contradict_each_other_are_refused_at_start_and_while_it_runs(ros: Graph) -> None:
    for values, says in (
        ({"cloud_min_height_m": 3.0}, "expected a minimum below the maximum"),
        ({"base_frame": "/base_link"}, "without a leading slash"),
        ({"odom_frame": ""}, "'odom_frame' is ''"),
    ):
        with pytest.raises(StartError, match=says):
            node(ros, parameters={"autostart": False, **values}, node_name="wrong")._configure()
    made = node(ros)
    wait(lambda: made._state == "active", "the node")
    (low, high, both) = (
        made.set_parameters_atomically([Parameter(name, value=value) for name, value in change.items()])
        for change in (
            {"cloud_min_height_m": 5.0},
            {"cloud_max_height_m": 0.05},
            {"cloud_min_height_m": 5.0, "cloud_max_height_m": 6.0},
        )
    )
    assert not low.successful and "expected a minimum below the maximum" in low.reason
    assert not high.successful and both.successful
    assert made._settings.cloud_min_height_m == 5.0


def test_images_in_a_frame_with_the_bodys_axes_are_told_until_the_mounting_is_right(ros: Graph) -> None:
    probe = Probe(ros)
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    fixed = keep_last(1, ReliabilityPolicy.RELIABLE, transient_local=True)
    publisher = probe.node.create_publisher(TFMessage, "/tf_static", fixed)
    publisher.publish(TFMessage(transforms=[transform_message(np.eye(4), 0, "base_link", probe.frame_id)]))
    node(ros)
    stamp = probe.send_until(lambda: "has the body's axes" in told(reports)[1], "the doubt", START)
    assert told(reports)[0] == 1 and f"'{probe.frame_id}'" in told(reports)[1]
    optical = transform_message(se3.T_BODY_OPTICAL, 0, "base_link", probe.frame_id)
    publisher.publish(TFMessage(transforms=[optical]))
    probe.send_until(lambda: told(reports)[0] == 0 and "frames/s" in told(reports)[1], "it is right", stamp)
