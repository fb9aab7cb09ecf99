"""The node in a real ROS graph over DDS: a loaded model without networks, everything else as shipped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fake_model import FakeEstimator, fake_loaded_model
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from ros_graph import Graph, Probe, call, cloud_arrays, graph, wait
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage

from featdepth_ros.inference.types import Estimate, ScaleState
from featdepth_ros.messages.encode import byte_array
from featdepth_ros.messages.stamps import stamp_ns
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.images import time_message
from featdepth_ros.ros.inputs import ImageInput
from featdepth_ros.ros.node import DepthNode
from featdepth_ros.ros.transforms import matrix_from_transform, transform_message

pytestmark = pytest.mark.ros

START = 1_700_000_000_000_000_000
DEPTH, INFO, POINTS = "/depth_node/depth/image_rect", "/depth_node/depth/camera_info", "/depth_node/points"


@pytest.fixture
def ros() -> Iterator[Graph]:
    with graph() as made:
        yield made
        assert made.failure is None, made.failure


def start(ros: Graph, fake: FakeEstimator | None = None, *remaps: str, **parameters: Any) -> Any:
    """Add a node that listens on /camera/image_raw and waits for nothing."""
    settings = {"extrinsics_timeout_s": 0.0, "camera_info_timeout_s": 0.3, "diagnostics_period_s": 0.1, **parameters}
    remaps = remaps or ("image_raw:=/camera/image_raw",)
    loaded = fake_loaded_model(fake or FakeEstimator())
    return ros.add(
        DepthNode(
            load=lambda _: loaded,
            context=ros.context,
            cli_args=["--ros-args", *(word for remap in remaps for word in ("-r", remap))],
            parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()],
        )
    )


def state_of(probe: Probe) -> str:
    return str(call(probe, GetState, "/depth_node/get_state", GetState.Request()).current_state.label)


def change_state(probe: Probe, transition: int) -> bool:
    request = ChangeState.Request()
    request.transition.id = transition
    return bool(call(probe, ChangeState, "/depth_node/change_state", request).success)


def status(messages: list[DiagnosticArray]) -> dict[str, str]:
    """Return the values of the newest message, with its level and text."""
    newest = wait(lambda: [m for m in messages if m.status[0].name == "depth_node: pipeline"], "diagnostics")[-1]
    newest = newest.status[0]
    return {**{v.key: v.value for v in newest.values}, "level": newest.level.hex(), "message": newest.message}


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
    told = "best effort but subscribed reliable"
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


def test_malformed_images_and_calibrations_are_counted_drops(ros: Graph) -> None:
    probe = Probe(ros)
    reports, depths = probe.hear(DiagnosticArray, "/diagnostics"), probe.hear(Image, DEPTH)
    start(ros)
    stamp = probe.send_until(lambda: depths, "depth", START)
    for spoil in ({"encoding": "rbg8"}, {"step": 1}, {"height": 1000}, {"width": 0}):
        msg = probe.image(stamp := stamp + 50_000_000)
        for name, value in spoil.items():
            setattr(msg, name, value)
        before = int(status(reports)["rejected"])

        def sent(msg: Any = msg, before: int = before) -> bool:
            probe.images.publish(msg)
            time.sleep(0.05)
            return int(status(reports)["rejected"]) > before

        wait(sent, f"a counted rejection of {spoil}")
    wait(lambda: status(reports)["level"] == "02", "an error while nothing but rubbish comes")
    bad = probe.info(stamp)
    bad.d = [0.1, 0.2]
    before = int(status(reports)["rejected"])

    def bad_info() -> bool:
        nonlocal stamp
        stamp += 50_000_000
        bad.header.stamp = time_message(stamp)
        probe.infos.publish(bad)
        time.sleep(0.05)
        probe.images.publish(probe.image(stamp))
        return "coefficients" in status(reports)["last_error"]

    wait(bad_info, "a rejection of the calibration")
    seen = len(depths)
    probe.send_until(lambda: len(depths) > seen + 1, "depth after the rubbish", stamp + 50_000_000)
    wait(lambda: status(reports)["last_error"] == "", "the all-clear")


def test_compressed_images(ros: Graph) -> None:
    probe = Probe(ros)
    depths = probe.hear(Image, DEPTH)
    compressed = probe.node.create_publisher(CompressedImage, "/camera/image_raw/compressed", 5)
    fake = FakeEstimator()
    start(ros, fake, image_transport="compressed")
    stamp = START

    def sent() -> bool:
        nonlocal stamp
        stamp += 50_000_000
        picture = np.full((48, 64, 3), (250, 100, 20), np.uint8)  # BGR to OpenCV
        msg = CompressedImage(format="bgr8; png compressed bgr8", data=byte_array(cv2.imencode(".png", picture)[1]))
        msg.header.stamp, msg.header.frame_id = time_message(stamp), "camera_optical"
        probe.infos.publish(probe.info(stamp))
        compressed.publish(msg)
        time.sleep(0.03)
        return len(depths) > 1

    pictures = probe.hear(Image, "/depth_node/image_rect")
    wait(sent, "depth of compressed images")
    wait(lambda: sent() and pictures, "the picture")
    assert np.frombuffer(pictures[-1].data, np.uint8)[:3].tolist() == [20, 100, 250]
    assert fake.cameras[-1] is not None, "camera_info is the sibling of the base topic, not of /compressed"


@pytest.mark.parametrize(
    "focal_px",
    [0.0, 0.7],  # 0.7: fractions of the image, which no camera's pixels are
)
def test_uncalibrated_gives_a_depth_image_only_and_says_so(ros: Graph, focal_px: float) -> None:
    probe = Probe(ros)
    depths, infos, clouds = probe.hear(Image, DEPTH), probe.hear(CameraInfo, INFO), probe.hear(PointCloud2, POINTS)
    odoms, tfs = probe.hear(Odometry, "/odom"), probe.hear(TFMessage, "/tf")
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    start(ros)
    stamp = START

    def sent() -> bool:
        nonlocal stamp
        stamp += 50_000_000
        K = [focal_px, 0.0, 0.5 * (focal_px > 0), 0.0, focal_px, 0.5 * (focal_px > 0), 0.0, 0.0, float(focal_px > 0)]
        probe.infos.publish(CameraInfo(width=64, height=48, k=K))
        probe.images.publish(probe.image(stamp))
        time.sleep(0.03)
        return len(depths) >= 4 and bool(infos)

    wait(sent, "depth")
    wait(lambda: "uncalibrated" in status(reports)["message"], "a word about it")
    assert infos[-1].k[0] == 0.0
    assert not clouds and not odoms and not tfs


def test_an_image_gets_the_calibration_of_its_stamp_else_the_newest(ros: Graph) -> None:
    probe, fake = Probe(ros, reliable=True), FakeEstimator()
    node = start(ros, fake)
    wait(lambda: state_of(probe) == "active", "the node to start")
    wait(lambda: probe.infos.get_subscription_count() > 0, "the subscription")
    for index, focal in enumerate((50.0, 60.0, 70.0)):  # a zoom lens
        probe.infos.publish(probe.info(START + 10 * index, focal=focal))

    def newest() -> Any:
        info = node._channels[""].input.camera_info(0)
        return info is not None and info.k[0] == 70.0

    wait(newest, "three calibrations")
    for stamp, focal in ((START + 5, 70.0), (START + 10, 60.0), (START + 30, 70.0)):
        steps = fake.steps

        def taken(stamp: int = stamp, steps: int = steps) -> bool:
            probe.images.publish(probe.image(stamp))
            time.sleep(0.03)
            return fake.steps > steps

        wait(taken, "an image")
        assert fake.cameras[-1].fx == focal


def test_the_camera_frame_of_the_parameter_counts_more_than_the_images(ros: Graph) -> None:
    probe = Probe(ros)
    depths, infos, odoms = probe.hear(Image, DEPTH), probe.hear(CameraInfo, INFO), probe.hear(Odometry, "/odom")
    start(ros, camera_frame="front_optical")
    probe.send_until(lambda: depths and infos and odoms, "depth and odometry", START)
    assert depths[-1].header.frame_id == infos[-1].header.frame_id == "front_optical"
    assert odoms[-1].child_frame_id == "front_optical"


def test_after_an_image_that_failed_inside_a_new_pair_begins(ros: Graph) -> None:
    class Failing(FakeEstimator):
        failed = False

        def step(self, image: np.ndarray, camera: Any, stamp_ns: int) -> Estimate:
            if self.steps == 2 and not self.failed:
                self.failed = True
                raise RuntimeError("out of memory")
            return super().step(image, camera, stamp_ns)

    probe, fake = Probe(ros), Failing()
    odoms, reports = probe.hear(Odometry, "/odom"), probe.hear(DiagnosticArray, "/diagnostics")
    start(ros, fake)
    probe.send_until(lambda: len(odoms) >= 4, "odometry", START)
    assert fake.failed and fake.resets == 2  # the start, when nothing was known yet, and the failure
    assert status(reports)["rejected"] == "1"
    positions = [m.pose.pose.position.x for m in odoms[:4]]
    assert positions[2] == positions[1] < positions[3]


def test_the_silence_of_a_node_that_did_not_listen_does_not_count(ros: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageInput, "GRAPH_CHECK_S", 0.05)
    probe = Probe(ros)
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    start(ros, autostart=False, watchdog_s=2.0)
    assert change_state(probe, 1)
    time.sleep(2.0)
    assert change_state(probe, 3)
    reports.clear()
    time.sleep(0.5)
    assert {m.status[0].message for m in reports if m.status[0].name == "depth_node: pipeline"} == {
        "waiting for the first image"
    }


def test_without_camera_info_the_node_goes_on_uncalibrated(ros: Graph) -> None:
    probe = Probe(ros)
    depths, fake = probe.hear(Image, DEPTH), FakeEstimator()
    start(ros, fake)
    stamp = START

    def sent() -> bool:
        nonlocal stamp
        probe.images.publish(probe.image(stamp := stamp + 50_000_000))
        time.sleep(0.03)
        return bool(depths)

    wait(sent, "depth without camera_info")
    assert fake.cameras[-1] is None
    probe.send_until(lambda: fake.cameras[-1] is not None, "calibration taken up late", stamp + 50_000_000)


def test_stamps_that_go_back_clear_the_pair_and_keep_the_pose(ros: Graph) -> None:
    probe = Probe(ros)
    odoms, reports = probe.hear(Odometry, "/odom"), probe.hear(DiagnosticArray, "/diagnostics")
    fake = FakeEstimator()
    start(ros, fake)
    probe.send_until(lambda: len(odoms) >= 4, "odometry", START)
    time.sleep(0.2)
    reached, resets, seen = odoms[-1].pose.pose.position.x, fake.resets, len(odoms)
    assert reached > 0.2
    probe.send_until(lambda: len(odoms) > seen, "odometry after the jump", START)
    assert fake.resets == resets + 1
    assert odoms[seen].pose.pose.position.x == reached, "the pose stays where it was"
    assert stamp_ns(odoms[seen].header.stamp) < stamp_ns(odoms[seen - 1].header.stamp)
    wait(lambda: status(reports)["time_jumps"] == "1", "the count")


def test_the_same_stamp_twice_is_one_frame(ros: Graph) -> None:
    probe = Probe(ros)
    odoms, reports = probe.hear(Odometry, "/odom"), probe.hear(DiagnosticArray, "/diagnostics")
    start(ros)
    stamp = probe.send_until(lambda: odoms, "odometry", START)
    for _ in range(10):
        probe.send(stamp)
        time.sleep(0.03)
    wait(lambda: int(status(reports)["skipped"]) >= 5, "skipped repeats")
    stamps = [stamp_ns(m.header.stamp) for m in odoms]
    assert len(stamps) == len(set(stamps))


def test_a_clock_that_jumps_back_clears_the_pair(ros: Graph) -> None:
    probe = Probe(ros)
    clock = probe.node.create_publisher(Clock, "/clock", 10)
    odoms, fake = probe.hear(Odometry, "/odom"), FakeEstimator()
    node = start(ros, fake, use_sim_time=True)

    def tick(stamp: int) -> int:
        clock.publish(Clock(clock=time_message(stamp)))
        time.sleep(0.02)
        return int(node.get_clock().now().nanoseconds)

    wait(lambda: tick(START) == START, "simulated time")
    probe.send_until(lambda: len(odoms) >= 3, "odometry", START)
    resets = fake.resets
    wait(lambda: tick(START - 5_000_000_000) < START, "the jump")
    seen = len(odoms)
    probe.send_until(lambda: len(odoms) > seen, "odometry after the jump", START + 10**12)
    assert fake.resets == resets + 1
    assert odoms[seen].pose.pose.position.x == pytest.approx(odoms[seen - 1].pose.pose.position.x)


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
    assert "someone else" not in status(reports)["message"]


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
    probe.send_until(lambda: "has been in work" in status(reports)["message"], "the word", START)
    assert status(reports)["level"] == "02"
    gate.set()
    probe.send_until(lambda: status(reports)["level"] == "00", "the all-clear", START + 10**12)
