"""camera_info in a live graph: latched by its driver, or of another camera than the images."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from fake_model import FakeEstimator, fake_loaded_model
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from ros_graph import Graph, Probe, wait
from sensor_msgs.msg import CameraInfo, Image

from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.inputs import ImageInput
from featdepth_ros.ros.node import DepthNode

pytestmark = pytest.mark.ros

START = 1_700_000_000_000_000_000
LATCHED = keep_last(1, ReliabilityPolicy.RELIABLE, transient_local=True)


@pytest.fixture(autouse=True)
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageInput, "GRAPH_CHECK_S", 0.1)


def start(ros: Graph, fake: FakeEstimator, **parameters: Any) -> Any:
    settings = {"extrinsics_timeout_s": 0.0, "diagnostics_period_s": 0.1, **parameters}
    return ros.add(
        DepthNode(
            load=lambda _: fake_loaded_model(fake),
            context=ros.context,
            cli_args=["--ros-args", "-r", "image_raw:=/camera/image_raw"],
            parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()],
        )
    )


def images_until(probe: Probe, condition: Any, what: str) -> None:
    stamp = START

    def once() -> Any:
        nonlocal stamp
        probe.images.publish(probe.image(stamp := stamp + 50_000_000))
        time.sleep(0.03)
        return condition()

    wait(once, what)


def told(reports: list[DiagnosticArray], what: str) -> bool:
    """Whether diagnostics warn that images are uncalibrated, with this found and what to do."""
    newest = [m.status[0] for m in reports if m.status[0].name == "depth_node: pipeline"][-1:]
    words = newest[0].message if newest else ""
    said = words.startswith("uncalibrated") and what in words and "calibrat" in words.rsplit(";", 1)[-1]
    return said and newest[0].level == b"\x01"


def watched(ros: Graph) -> tuple[Probe, FakeEstimator, list[Any], list[Any]]:
    """A node that listens to camera_info; its probe and estimator, and the depth and diagnostics that are heard."""
    probe, fake = Probe(ros, reliable=True), FakeEstimator()
    depths = probe.hear(Image, "/depth_node/depth/image_rect")
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    start(ros, fake)
    wait(lambda: probe.infos.get_subscription_count() > 0, "the subscription")
    return probe, fake, depths, reports


@pytest.mark.parametrize("reliability", ["auto", "best_effort"])
def test_a_latched_camera_info_is_received_however_early_it_was(ros: Graph, reliability: str) -> None:
    probe, fake = Probe(ros), FakeEstimator()
    probe.node.destroy_publisher(probe.infos)
    latched = probe.node.create_publisher(CameraInfo, "/camera/camera_info", LATCHED)
    latched.publish(probe.info(START))
    time.sleep(0.3)
    start(ros, fake, reliability=reliability)
    images_until(probe, lambda: fake.cameras and fake.cameras[-1] is not None, "a calibrated frame")


def test_a_camera_info_of_another_size_is_none_and_the_images_go_on(ros: Graph) -> None:
    probe, fake, depths, reports = watched(ros)
    probe.infos.publish(probe.info(START, width=128, height=96))
    images_until(probe, lambda: len(depths) >= 3, "depth")
    assert set(fake.cameras) == {None}

    what = "the calibration is for 128x96"
    images_until(probe, lambda: told(reports, what), "the word about it")
    probe.infos.publish(probe.info(START + 1))
    images_until(probe, lambda: fake.cameras[-1] is not None, "the right calibration")


def test_a_malformed_camera_info_is_none_and_the_images_go_on(ros: Graph) -> None:
    probe, fake, depths, reports = watched(ros)
    spoilt: list[tuple[dict[str, Any], str]] = [
        ({"k": [math.nan, 0.0, 31.5, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0]}, "K of the CameraInfo holds a non-finite"),
        ({"d": [math.inf] * 5}, "D of the CameraInfo holds a non-finite"),
        ({"distortion_model": "omni", "d": [0.1] * 4}, "'omni' is not known"),
        ({"d": [0.1] * 3}, "has 3 coefficients"),
    ]
    for index, (fields, what) in enumerate(spoilt):
        bad = probe.info(START + index)
        for name, value in fields.items():
            setattr(bad, name, value)
        probe.infos.publish(bad)
        images_until(probe, lambda what=what: told(reports, what), what)
    assert len(depths) >= len(spoilt) and set(fake.cameras) == {None}
    newest = [m.status[0] for m in reports if m.status[0].name == "depth_node: pipeline"][-1]
    assert {v.key: v.value for v in newest.values}["rejected"] == "0"
    probe.infos.publish(probe.info(START + 9))
    images_until(probe, lambda: fake.cameras[-1] is not None, "the right calibration")
