"""Every finding of the doctor about a graph, on a live one: several cameras, each with faults of its own."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.qos import ReliabilityPolicy
from ros_graph import Graph, graph
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.ros.calibration import info_from_camera
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.doctor.camera import camera_findings
from featdepth_ros.ros.doctor.graph import graph_findings
from featdepth_ros.ros.doctor.observation import Observation
from featdepth_ros.ros.doctor.watch import Watch
from featdepth_ros.ros.images import image_message
from featdepth_ros.ros.transforms import transform_message

pytestmark = pytest.mark.ros

SECOND = 1_000_000_000
CAMERA = CameraModel(64, 48, 50.0, 50.0, 31.5, 23.5)
LATCHED = keep_last(5, ReliabilityPolicy.RELIABLE, transient_local=True)
BEST = keep_last(5, ReliabilityPolicy.BEST_EFFORT)


class Camera:
    """A driver with faults: what it publishes is changed by ``spoil(count, image, info)``."""

    def __init__(self, node: Any, name: str, spoil: Any = None, image: str = "image_raw", info: bool = True) -> None:
        self.node, self.name, self.spoil, self.count = node, name, spoil, 0
        self.images = node.create_publisher(Image, f"/{name}/{image}", BEST)
        self.infos = node.create_publisher(CameraInfo, f"/{name}/camera_info", BEST) if info else None
        node.create_timer(0.05, self.send)

    def send(self) -> None:
        self.count += 1
        stamp = time.time_ns()
        pixels = np.full((48, 64, 3), 100, np.uint8)
        msg, info = image_message(pixels, "rgb8", stamp, self.name), info_from_camera(CAMERA, stamp, self.name)
        if self.spoil is not None:
            msg, info = self.spoil(self.count, msg, info)
        if msg is not None:
            self.images.publish(msg)
        if info is not None and self.infos is not None:
            self.infos.publish(info)


def restamp(msg: Any, stamp: int) -> None:
    msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(stamp, SECOND)


def plain(_: int, msg: Any, info: Any) -> tuple[Any, Any]:
    restamp(msg, 0)
    msg.header.frame_id = ""
    return msg, None


def distances(_: int, msg: Any, info: Any) -> tuple[Any, Any]:
    depth = image_message(np.ones((48, 64), np.float32), "32FC1", time.time_ns(), "distances")
    return depth, CameraInfo(width=64, height=48)


def dark(_: int, msg: Any, info: Any) -> tuple[Any, Any]:
    black = image_message(np.zeros((48, 64, 3), np.uint8), "rgb8", time.time_ns() + 10 * SECOND, "/dark")
    return black, CameraInfo(width=64, height=48, k=[0.7, 0.0, 0.5, 0.0, 0.7, 0.5, 0.0, 0.0, 1.0])


def slow(count: int, msg: Any, info: Any) -> tuple[Any, Any]:
    restamp(msg, time.time_ns() - 10 * SECOND)
    info.d = [0.1, 0.2]
    return (msg, info) if count % 10 == 0 else (None, None)


def rectified(count: int, msg: Any, info: Any) -> tuple[Any, Any]:
    restamp(msg, time.time_ns() - 7200 * SECOND)
    info.d, info.p, info.header.frame_id = [0.1, 0.0, 0.0, 0.0, 0.0], [0.0] * 12, "other"
    return (msg, info) if count % 12 > 4 else (None, info)


def no_infos(_: int, msg: Any, info: Any) -> tuple[Any, Any]:
    return msg, None


def second_driver(_: int, msg: Any, info: Any) -> tuple[Any, Any]:
    restamp(msg, time.time_ns() - SECOND)
    msg.header.frame_id = "other"
    return msg, None


def fix(node: Any, *edges: tuple[str, str]) -> None:
    publisher = node.create_publisher(TFMessage, "/tf_static", LATCHED)
    publisher.publish(TFMessage(transforms=[transform_message(np.eye(4), 0, p, c) for p, c in edges]))


def move(node: Any, *edges: tuple[str, str]) -> None:
    publisher = node.create_publisher(TFMessage, "/tf", 10)

    def send() -> None:
        edges_now = [transform_message(np.eye(4), time.time_ns(), p, c) for p, c in edges]
        publisher.publish(TFMessage(transforms=edges_now))

    node.create_timer(0.1, send)


@pytest.fixture(scope="module")
def ward() -> Iterator[Graph]:
    with graph() as ros:
        node = ros.add(rclpy.create_node("drivers", context=ros.context))
        second = ros.add(rclpy.create_node("second_driver", context=ros.context))
        cameras = {"plain": plain, "distances": distances, "dark": dark, "slow": slow, "good": None}
        for name, spoil in cameras.items():
            Camera(node, name, spoil, info=name != "plain")
        Camera(node, "rectified", rectified, image="image_rect")
        Camera(node, "twice", no_infos)
        Camera(second, "twice", second_driver)
        node.create_publisher(Image, "/quiet/image_raw", BEST)
        node.create_publisher(String, "/text/image_raw", BEST)
        node.create_subscription(Image, "/slow/image_raw", lambda _: None, keep_last(1, ReliabilityPolicy.RELIABLE))
        node.create_subscription(Image, "/slow/image_raw", lambda _: None, LATCHED)
        fix(node, ("base_link", "good"), ("mount", "slow"), ("base_link", "tilt"), ("left", "child"))
        fix(second, ("right", "child"))
        move(node, ("odom", "base_link"), ("base_link", "rectified"))
        time.sleep(1.0)
        yield ros


def look(ros: Graph, topic: str | None, seconds: float = 1.6) -> Observation:
    doctor = rclpy.create_node("featdepth_doctor", context=ros.context)
    try:
        return Watch(doctor, topic, threading.Event()).observe(seconds)
    finally:
        doctor.destroy_node()


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("/nothing/image_raw", {"image.unpublished", "tf.parents"}),
        ("/text/image_raw", {"image.type", "tf.parents"}),
        ("/quiet/image_raw", {"image.silent", "tf.parents"}),
        ("/plain/image_raw", {"camera_info.none", "stamp.none", "frame.empty", "tf.parents"}),
        ("/distances/image_raw", {"image.unusable", "camera_info.uncalibrated", "tf.mounting", "tf.parents"}),
        (
            "/dark/image_raw",
            {"image.blind", "camera_info.implausible", "stamp.future", "frame.slash", "tf.mounting", "tf.parents"},
        ),
        (
            "/slow/image_raw",
            {"image.rate", "stamp.late", "camera_info.malformed", "qos.reliability", "qos.durability", "tf.mounting"}
            | {"tf.parents"},
        ),
        (
            "/rectified/image_rect",
            {"camera_info.rectified", "camera_info.frame", "stamp.recorded", "image.gaps", "tf.moving", "tf.odometry"}
            | {"tf.parents"},
        ),
        (
            "/twice/image_raw",
            {"image.publishers", "frame.changes", "stamp.order", "camera_info.silent", "tf.parents"},
        ),
        ("/good/image_raw", {"tf.odometry", "tf.parents"}),
    ],
)
def test_every_fault_of_a_camera_is_found_and_no_other(ward: Graph, topic: str, expected: set[str]) -> None:
    seen = look(ward, topic)
    findings = [*camera_findings(seen), *graph_findings(seen, "base_link", "odom")]
    codes = {f.code for f in findings}
    timing = {"image.gaps", "image.rate", "stamp.late"} - expected  # of a machine under load, not of the camera
    assert codes - timing == expected
    for finding in findings:
        assert finding.what and finding.do and "\n" not in finding.what


def test_nodes_clocks_and_an_empty_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(1 + (int(os.environ["ROS_DOMAIN_ID"]) + 50) % 101))
    with graph() as ros:
        (nothing,) = camera_findings(look(ros, None, 0.1))
        assert nothing.code == "image.none" and "no node" in nothing.what
        nodes = [ros.add(rclpy.create_node(name, context=ros.context)) for name in ("depth_node", "depth_too")]
        for node in nodes:
            node.create_service(Trigger, "~/reset_odometry", lambda _, answer: answer)
            node.create_service(SetBool, "~/enable", lambda _, answer: answer)
        Camera(nodes[0], "front")
        Camera(nodes[0], "depth_node/depth")  # its own pictures are no camera
        nodes[1].create_subscription(Image, "/front/image_raw", lambda _: None, BEST)
        nodes[1].set_parameters([rclpy.parameter.Parameter("use_sim_time", value=True)])
        reports = nodes[0].create_publisher(DiagnosticArray, "/diagnostics", 10)
        level, name = DiagnosticStatus.ERROR, "depth_node: pipeline"
        status = DiagnosticStatus(name=name, level=level, message="the device is gone")
        nodes[0].create_timer(0.1, lambda: reports.publish(DiagnosticArray(status=[status])))
        seen = look(ros, None)
        assert seen.images.topic == "/front/image_raw" and seen.depth_nodes == ("/depth_node", "/depth_too")
        codes = {f.code for f in graph_findings(seen, "base_link", "odom")}
        assert codes == {"node.says", "node.several", "clock.none", "tf.mounting"}
        for name in ("one", "two"):
            ros.add(rclpy.create_node(name, context=ros.context)).create_publisher(Clock, "/clock", 1)
        codes = {f.code for f in graph_findings(look(ros, None, 0.3), "base_link", "odom")}
        assert codes == {"node.says", "node.several", "clock.publishers", "clock.unused", "tf.mounting"}


def test_the_command_says_it_in_ten_lines_with_exit_code_and_json(
    ward: Graph, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from featdepth_ros.cli import main as cli
    from featdepth_ros.ros.doctor import examine

    out = tmp_path / "findings.json"
    arguments = ["doctor", "--seconds", "1", "--json", str(out), "--topic", "/dark/image_raw"]
    assert cli.main(arguments) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 10 and lines[0].startswith("ERROR") and " Do: " in lines[0]
    written = json.loads(out.read_text())
    assert {"stamp.future", "camera_info.implausible"} <= {f["code"] for f in written["findings"]}
    assert [f["level"] for f in written["findings"]] == sorted(f["level"] for f in written["findings"])  # errors first
    for judge in ("graph_findings", "machine_findings", "camera_findings"):
        monkeypatch.setattr(examine, judge, lambda *_: ())
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.startswith("nothing is wrong: ")
