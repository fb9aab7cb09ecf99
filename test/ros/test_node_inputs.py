"""The node in a real ROS graph over DDS: images and calibrations of all kinds, and stamps that jump."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fake_model import FakeEstimator
from nav_msgs.msg import Odometry
from node_graph import DEPTH, INFO, POINTS, START, change_state, start, state_of, status
from ros_graph import Graph, Probe, wait
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from featdepth_ros.inference.types import Estimate
from featdepth_ros.messages.encode import byte_array
from featdepth_ros.messages.stamps import stamp_ns
from featdepth_ros.ros.images import time_message
from featdepth_ros.ros.inputs import ImageInput

pytestmark = pytest.mark.ros


def test_malformed_images_are_counted_drops(ros: Graph) -> None:
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
