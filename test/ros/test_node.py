"""The node in a real ROS graph over DDS: what it publishes, its states, parameters and services."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fake_model import FakeEstimator
from nav_msgs.msg import Odometry
from node_graph import DEPTH, INFO, POINTS, START, change_state, start, state_of, status
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from ros_graph import Graph, Probe, call, cloud_arrays, wait
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage

from featdepth_ros.inference.types import ScaleState
from featdepth_ros.messages.stamps import stamp_ns
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.transforms import matrix_from_transform, transform_message

pytestmark = pytest.mark.ros


def test_one_command_gives_everything_with_the_images_stamp_and_frame(ros: Graph) -> None:
    probe = Probe(ros)
    depths, infos = probe.hear(Image, DEPTH), probe.hear(CameraInfo, INFO)
    clouds, sigmas = probe.hear(PointCloud2, POINTS), probe.hear(Image, "/depth_node/depth/sigma")
    images, odoms = probe.hear(Image, "/depth_node/image_rect"), probe.hear(Odometry, "/odom")
    tracks, tfs = probe.hear(Image, "/depth_node/tracks"), probe.hear(TFMessage, "/tf")
    start(ros)
    every = (depths, infos, clouds, sigmas, images, tracks, odoms, tfs)
    end = probe.send_until(lambda: all(len(messages) >= 3 for messages in every), "all topics", START)

    sent = set(range(START, end, 50_000_000))
    for messages in every[:-1]:
        assert {stamp_ns(m.header.stamp) for m in messages} <= sent
    for messages in every[:-2]:
        assert {m.header.frame_id for m in messages} == {"camera_optical"}
    # Sigma has depth's size and a value just where depth has one; tracks are drawn into the very picture of the depth.
    sigma, finite = (np.frombuffer(m[-1].data, "<f4").reshape(24, 32) for m in (sigmas, depths))
    assert sigmas[-1].encoding == "32FC1"
    np.testing.assert_array_equal(np.isfinite(sigma), np.isfinite(finite))
    assert (tracks[-1].encoding, tracks[-1].width, tracks[-1].height) == ("rgb8", 32, 24)
    # REP-118 values and the camera_info that belongs to them: K and P scaled to depth's size, D = 0.
    depth = np.frombuffer(depths[-1].data, "<f4").reshape(depths[-1].height, depths[-1].width)
    assert np.isneginf(depth[0]).all() and np.isposinf(depth[-1]).all() and np.isnan(depth[10, 5])
    info = infos[-1]
    assert (info.width, info.height) == (depths[-1].width, depths[-1].height) == (32, 24)
    assert list(info.d) == [0.0] * 5
    np.testing.assert_allclose(np.reshape(info.k, (3, 3)), [[25, 0, 15.5], [0, 25, 11.5], [0, 0, 1]])
    np.testing.assert_allclose(np.reshape(info.p, (3, 4))[:, :3], np.reshape(info.k, (3, 3)))
    # The cloud through camera_info lands on the pixels its depth came from.
    points, _ = cloud_arrays(clouds[-1])
    good = np.isfinite(points).all(axis=-1)
    pixel = points[good] @ np.reshape(info.k, (3, 3)).T
    v, u = np.nonzero(good)
    np.testing.assert_allclose(pixel[:, :2] / pixel[:, 2:], np.stack([u, v], axis=1), atol=1e-3)
    np.testing.assert_array_equal(points[good][:, 2], depth[good])


def test_tf_and_odometry_once_a_frame_and_twist_in_the_child_frame(ros: Graph) -> None:
    probe = Probe(ros)
    odoms, tfs = probe.hear(Odometry, "/odom"), probe.hear(TFMessage, "/tf")
    static = probe.node.create_publisher(
        TFMessage, "/tf_static", keep_last(1, ReliabilityPolicy.RELIABLE, transient_local=True)
    )
    mounted = np.array([[0, 0, 1, 0.5], [-1, 0, 0, 0], [0, -1, 0, 1.0], [0, 0, 0, 1.0]])
    static.publish(TFMessage(transforms=[transform_message(mounted, 0, "base_link", "camera_optical")]))
    start(ros, extrinsics_timeout_s=8.0)
    probe.send_until(lambda: len(tfs) >= 5 and len(odoms) >= 5, "odometry", START)
    time.sleep(0.2)
    stamps = [stamp_ns(t.header.stamp) for m in tfs for t in m.transforms]
    assert len(stamps) == len(set(stamps))
    assert stamps == [stamp_ns(m.header.stamp) for m in odoms]
    transform, odom = tfs[-1].transforms[0], odoms[-1]
    assert (transform.header.frame_id, transform.child_frame_id) == ("odom", "base_link")
    assert (odom.header.frame_id, odom.child_frame_id) == ("odom", "base_link")
    pose = matrix_from_transform(transform)
    assert odom.pose.pose.position.x == pose[0, 3] > 0.3  # forward is +x (REP-103)
    # Driving a left-hand circle: the pose turns, the twist does not.
    speeds = [(m.twist.twist.linear.x, m.twist.twist.linear.y, m.twist.twist.angular.z) for m in odoms[1:]]
    np.testing.assert_allclose(speeds, np.tile(speeds[0], (len(speeds), 1)), atol=1e-9)
    assert speeds[0][0] == pytest.approx(2.0, abs=0.02) and speeds[0][2] == pytest.approx(0.2, abs=1e-6)
    assert all((np.diag(np.reshape(m.twist.covariance, (6, 6))) > 0).all() for m in odoms)
    assert all((np.diag(np.reshape(m.pose.covariance, (6, 6))) > 0).all() for m in odoms)


def test_age_is_counted_from_the_stamp_and_latency_from_the_arrival_in_milliseconds(ros: Graph) -> None:
    probe = Probe(ros)
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    start(ros, FakeEstimator(delay_s=0.05))
    # Images of a camera whose driver takes ten seconds.
    probe.send_until(lambda: reports and int(status(reports)["processed"]) > 0, "a frame", time.time_ns() - 10**10)
    told = status(reports)
    assert 5e3 < float(told["age_at_publish_ms"]) < 30e3
    assert 50 <= float(told["latency_ms"]) < 5e3
    assert told["stamps"] == "of the node's clock"


@pytest.mark.parametrize("reliable", [True, False])
def test_auto_takes_either_reliability_and_follows_a_change(ros: Graph, reliable: bool) -> None:
    camera = Probe(ros, reliable=reliable)
    node = start(ros)
    depths = camera.hear(Image, DEPTH)
    camera.send_until(lambda: depths, "depth", START)
    wanted = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    wait(lambda: node._channels[""].input.reliability == wanted, "the publisher's reliability")
    camera.node.destroy_publisher(camera.images)
    other = Probe(ros, reliable=not reliable, name="other")
    seen = len(depths)
    other.send_until(lambda: len(depths) > seen + 2, "depth from the other camera", START + 10**12)


def test_a_reliable_subscription_to_a_best_effort_camera_is_told(ros: Graph) -> None:
    probe = Probe(ros)
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    start(ros, reliability="reliable", watchdog_s=0.3)
    told = "best effort and subscribed reliable"
    probe.send_until(lambda: told in status(reports)["message"], "the cause", START)
    assert status(reports)["level"] == "02"
    request = SetParameters.Request(parameters=[Parameter("reliability", value="auto").to_parameter_msg()])
    assert call(probe, SetParameters, "/depth_node/set_parameters", request).results[0].successful
    probe.send_until(lambda: int(status(reports)["processed"]) > 0, "images after the change", START)


def test_watchdog_names_a_missing_camera_and_where_images_are(ros: Graph) -> None:
    probe = Probe(ros)
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    start(ros, None, "image_raw:=/cam/image_raw", watchdog_s=0.2)
    wait(lambda: reports and "nobody publishes /cam/image_raw" in status(reports)["message"], "the cause")
    assert "/camera/image_raw" in status(reports)["message"]


def test_lifecycle_by_a_manager(ros: Graph) -> None:
    probe = Probe(ros)
    depths = probe.hear(Image, DEPTH)
    node = start(ros, autostart=False)
    assert state_of(probe) == "unconfigured"
    assert change_state(probe, 1) and state_of(probe) == "inactive"  # configure
    probe.send(START)
    assert change_state(probe, 3) and state_of(probe) == "active"
    probe.send_until(lambda: depths, "depth", START)
    assert change_state(probe, 4) and state_of(probe) == "inactive"  # deactivate
    assert node._worker is None and probe.node.count_subscribers("/camera/image_raw") == 0
    assert change_state(probe, 2) and state_of(probe) == "unconfigured"  # clean up
    assert node._loaded is None
    assert change_state(probe, 1) and change_state(probe, 3)
    seen = len(depths)
    probe.send_until(lambda: len(depths) > seen, "depth after a second start", START + 10**12)
    assert change_state(probe, 7) and state_of(probe) == "finalized"  # shut down while active


def test_contradicting_parameters_refuse_to_configure(ros: Graph) -> None:
    probe = Probe(ros)
    start(ros, autostart=False, scale="metres")
    assert not change_state(probe, 1)
    assert state_of(probe) == "unconfigured"


def test_parameters_are_described_and_late_changes_refused_in_words(ros: Graph) -> None:
    probe = Probe(ros)
    depths = probe.hear(Image, DEPTH)
    start(ros)
    request = DescribeParameters.Request(names=["max_depth"])
    described = call(probe, DescribeParameters, "/depth_node/describe_parameters", request).descriptors[0]
    assert "REP-117" in described.description and described.floating_point_range[0].to_value == 10000.0
    wait(lambda: state_of(probe) == "active", "the node to start")

    def set_(name: str, value: Any) -> Any:
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return call(probe, SetParameters, "/depth_node/set_parameters", request).results[0]

    refused = set_("input_height", 64)
    assert not refused.successful and "read by configure" in refused.reason
    assert not set_("watchdog_s", -5.0).successful
    assert set_("depth_encoding", "16UC1").successful
    probe.send_until(lambda: depths and depths[-1].encoding == "16UC1", "millimetres", START)
    assert np.frombuffer(depths[-1].data, "<u2").reshape(24, 32)[10, 5] == 0


def test_reset_odometry_and_enable(ros: Graph) -> None:
    probe = Probe(ros)
    odoms, fake = probe.hear(Odometry, "/odom"), FakeEstimator()
    start(ros, fake)
    stamp = probe.send_until(lambda: len(odoms) >= 4, "odometry", START)
    assert call(probe, Trigger, "/depth_node/reset_odometry", Trigger.Request()).success
    time.sleep(0.1)
    seen = len(odoms)
    stamp = probe.send_until(lambda: len(odoms) > seen, "odometry after the reset", stamp)
    assert odoms[seen].pose.pose.position.x == 0.0

    assert call(probe, SetBool, "/depth_node/enable", SetBool.Request(data=False)).success
    time.sleep(0.2)
    steps = fake.steps
    for _ in range(5):
        probe.send(stamp := stamp + 50_000_000)
        time.sleep(0.02)
    assert fake.steps == steps and probe.node.count_subscribers("/camera/image_raw") == 0
    assert call(probe, SetBool, "/depth_node/enable", SetBool.Request(data=True)).success
    probe.send_until(lambda: fake.steps > steps, "images after enable", stamp + 50_000_000)


def test_nothing_is_published_that_nobody_hears(ros: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    from featdepth_ros.ros import publishers

    made: list[str] = []
    for name in ("depth_image", "sigma_image", "image_message", "tracks_image"):
        real = getattr(publishers, name)
        monkeypatch.setattr(publishers, name, lambda *a, _n=name, _r=real: (made.append(_n), _r(*a))[1])
    probe = Probe(ros)
    odoms = probe.hear(Odometry, "/odom")
    start(ros)
    stamp = probe.send_until(lambda: len(odoms) >= 3, "odometry", START)
    assert made == []
    depths = probe.hear(Image, DEPTH)
    stamp = probe.send_until(lambda: depths, "depth once someone listens", stamp)
    assert set(made) == {"depth_image"}
    tracks = probe.hear(Image, "/depth_node/tracks")
    probe.send_until(lambda: tracks, "tracks once someone listens", stamp)
    assert set(made) == {"depth_image", "tracks_image"}


def test_relative_scale_warns_and_odometry_can_be_held_back(ros: Graph) -> None:
    probe = Probe(ros)
    odoms, depths = probe.hear(Odometry, "/odom"), probe.hear(Image, DEPTH)
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    start(ros, FakeEstimator(scale=ScaleState("relative", "none", 1.0, 1.0)), publish_relative_odometry=False)
    stamp = probe.send_until(lambda: len(depths) >= 3, "depth", START)
    assert not odoms
    wait(lambda: "not metres" in status(reports)["message"], "the warning")
    assert status(reports)["level"] == "01"
    request = SetParameters.Request(parameters=[Parameter("publish_relative_odometry", value=True).to_parameter_msg()])
    assert call(probe, SetParameters, "/depth_node/set_parameters", request).results[0].successful
    probe.send_until(lambda: odoms, "odometry in model units", stamp)


def test_a_lost_motion_warns_and_holds_the_pose(ros: Graph) -> None:
    probe = Probe(ros)
    odoms, reports = probe.hear(Odometry, "/odom"), probe.hear(DiagnosticArray, "/diagnostics")
    start(ros, FakeEstimator(lost_at=tuple(range(5, 500))))
    stamp = probe.send_until(lambda: "motion is lost" in status(reports)["message"], "the warning", START)
    told = status(reports)
    assert (told["level"], told["motion_state"], told["tracks"], told["depth"]) == ("01", "lost", "300", "fused")
    seen = len(odoms)
    probe.send_until(lambda: len(odoms) > seen + 1, "odometry while lost", stamp)
    assert odoms[-1].pose.pose.position.x == odoms[-2].pose.pose.position.x > 0.2
    assert odoms[-1].pose.covariance[0] > odoms[3].pose.covariance[0]


def test_whoever_else_may_publish_the_transform_once_this_node_does_not(ros: Graph) -> None:
    probe = Probe(ros)
    reports, odoms = probe.hear(DiagnosticArray, "/diagnostics"), probe.hear(Odometry, "/odom")
    other = probe.node.create_publisher(TFMessage, "/tf", 10)
    start(ros, publish_tf=False)
    tfs = probe.hear(TFMessage, "/tf")
    stamp = START

    def rival() -> bool:
        nonlocal stamp
        other.publish(TFMessage(transforms=[transform_message(np.eye(4), stamp, "odom", "camera_optical")]))
        probe.send(stamp := stamp + 50_000_000)
        time.sleep(0.03)
        return len(tfs) >= 5 and len(odoms) >= 5

    wait(rival, "transforms of the other and odometry")
    assert all(np.array_equal(matrix_from_transform(t), np.eye(4)) for m in tfs for t in m.transforms)
    assert "another node" not in status(reports)["message"]


def test_inverted_transform(ros: Graph) -> None:
    probe = Probe(ros)
    tfs, odoms = probe.hear(TFMessage, "/tf"), probe.hear(Odometry, "/odom")
    start(ros, invert_tf=True)
    probe.send_until(lambda: len(tfs) >= 3 and len(odoms) >= 3, "transforms", START)
    transform = tfs[2].transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == ("camera_optical", "odom")
    pose = np.linalg.inv(matrix_from_transform(transform))
    assert pose[0, 3] == pytest.approx(odoms[2].pose.pose.position.x, abs=1e-9)


def test_slow_networks_drop_frames_and_never_queue(ros: Graph) -> None:
    gate = threading.Event()
    gate.set()
    probe = Probe(ros)
    odoms, reports = probe.hear(Odometry, "/odom"), probe.hear(DiagnosticArray, "/diagnostics")
    start(ros, FakeEstimator(gate=gate))
    stamp = probe.send_until(lambda: odoms, "odometry", START)
    time.sleep(0.2)
    seen = len(odoms)
    gate.clear()
    for _ in range(12):
        probe.send(stamp)
        last, stamp = stamp, stamp + 50_000_000
        time.sleep(0.05)
    gate.set()
    wait(lambda: odoms and stamp_ns(odoms[-1].header.stamp) == last, "the newest frame")
    time.sleep(0.2)
    assert len(odoms) - seen == 2, "the frame in work and the newest; nothing in between"
    wait(lambda: int(status(reports)["dropped"]) >= 9, "counted drops")


def test_networks_that_hang_are_told(ros: Graph) -> None:
    gate = threading.Event()
    probe = Probe(ros)
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    start(ros, FakeEstimator(gate=gate), watchdog_s=0.5)
    probe.send_until(lambda: "the current image has taken" in status(reports)["message"], "the word", START)
    assert status(reports)["level"] == "02"
    gate.set()
    probe.send_until(lambda: status(reports)["level"] == "00", "the all-clear", START + 10**12)
