"""Topics of speed and gyroscope in a real ROS graph: they are stored, mounted by /tf_static, and missed in words."""

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
from sensor_msgs.msg import Image, Imu
from tf2_msgs.msg import TFMessage

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.types import ScaleState
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.images import header_message
from featdepth_ros.ros.loading import LoadedModel
from featdepth_ros.ros.node import DepthNode
from featdepth_ros.ros.transforms import transform_message

pytestmark = pytest.mark.ros

START = 1_700_000_000_000_000_000
METRIC = ScaleState("metric", "speed", 1.0, 1e-4)


def start(ros: Graph, **parameters: Any) -> LoadedModel:
    """Add a node; the model that it runs has the sensors."""
    settings = {"extrinsics_timeout_s": 0.0, "diagnostics_period_s": 0.1, **parameters}
    loaded = fake_loaded_model(FakeEstimator(scale=METRIC))
    ros.add(
        DepthNode(
            load=lambda _: loaded,
            context=ros.context,
            cli_args=["--ros-args", "-r", "image_raw:=/camera/image_raw"],
            parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()],
        )
    )
    return loaded


def newest(messages: list[DiagnosticArray]) -> dict[str, str]:
    status = wait(lambda: [m for m in messages if m.status[0].name == "depth_node: pipeline"], "diagnostics")[
        -1
    ].status[0]
    return {**{v.key: v.value for v in status.values}, "level": status.level.hex(), "message": status.message}


def mountings(probe: Probe, imu_from_camera: np.ndarray, camera_on_base: np.ndarray) -> None:
    """Say on /tf_static where camera and gyroscope sit on the base."""
    publisher = probe.node.create_publisher(
        TFMessage, "/tf_static", keep_last(1, ReliabilityPolicy.RELIABLE, transient_local=True)
    )
    T_base_imu = camera_on_base @ se3.inverse(imu_from_camera)
    links = ((camera_on_base, probe.frame_id), (T_base_imu, "imu_link"))
    publisher.publish(TFMessage(transforms=[transform_message(T, 0, "base_link", child) for T, child in links]))


def odometry(stamp_ns: int, speed: float, turn: float) -> Odometry:
    msg = Odometry(header=header_message(stamp_ns, "wheel_odom"), child_frame_id="base_link")
    msg.twist.twist.linear.x, msg.twist.twist.angular.z = speed, turn
    return msg


def rate(stamp_ns: int, z: float) -> Imu:
    msg = Imu(header=header_message(stamp_ns, "imu_link"))
    msg.angular_velocity.z = z
    return msg


def test_speed_and_gyroscope_reach_the_estimator_in_the_cameras_axes(ros: Graph) -> None:
    probe = Probe(ros)
    reports, depths = probe.hear(DiagnosticArray, "/diagnostics"), probe.hear(Image, "/depth_node/depth/image_rect")
    camera_on_base = se3.make(se3.T_BODY_OPTICAL[:3, :3], (0.5, 0.0, 1.0))
    imu_from_camera = se3.make(se3.rotation_from_vector([0.0, 0.0, np.pi / 2]), (0.1, 0.0, 0.0))
    mountings(probe, imu_from_camera, camera_on_base)
    wheels = probe.node.create_publisher(Odometry, "/wheel/odom", 10)
    gyro = probe.node.create_publisher(Imu, "/imu/data", 10)
    loaded = start(ros, speed_topic="/wheel/odom", imu_topic="/imu/data", scale="speed")
    stamp = START

    def heard() -> bool:
        nonlocal stamp
        stamp += 20_000_000
        wheels.publish(odometry(stamp, 0.0, 2.0))
        gyro.publish(rate(stamp, 0.5))
        probe.send(stamp)
        sensors = loaded.sensors
        if sensors.speedometer is None or sensors.gyroscope is None:
            return False  # not configured yet
        span = (stamp - 120_000_000, stamp - 40_000_000)
        speed, turned = sensors.speedometer.between(*span), sensors.gyroscope.between(*span)
        # A robot that turns on the spot: the camera, half a metre ahead, moves at a metre a second.
        return speed is not None and turned is not None and abs(speed[0] - 1.0) < 1e-6

    wait(heard, "speed and rotation with their mountings")
    assert loaded.sensors.gyroscope is not None
    turned = loaded.sensors.gyroscope.between(stamp - 120_000_000, stamp - 40_000_000)
    assert turned is not None
    # The gyroscope's z axis is the camera's: a turn by a right angle about it changes nothing.
    np.testing.assert_allclose(se3.vector_from_rotation(turned[0]), [0.0, 0.0, 0.04], atol=1e-6)
    probe.send_until(lambda: depths and newest(reports)["speed_topic"].startswith("heard"), "words", stamp + 1)
    assert newest(reports)["imu_topic"] == "heard on /imu/data"
    assert (newest(reports)["scale_source"], newest(reports)["scale"]) == ("speed", "metric")
    loaded.sensors.gyroscope.contradicted = True  # see test_sensed_motion.py
    probe.send_until(lambda: "is it in rad/s" in newest(reports)["message"], "the contradiction", stamp + 10**9)
    assert newest(reports)["level"] == "01" and "another rotation than the images" in newest(reports)["imu_topic"]


def test_topics_that_are_silent_of_another_type_or_unmounted_are_told_and_hold_nothing_up(ros: Graph) -> None:
    probe = Probe(ros)
    reports, depths = probe.hear(DiagnosticArray, "/diagnostics"), probe.hear(Image, "/depth_node/depth/image_rect")
    start(ros, speed_topic="/wheel/speed", imu_topic="/imu/data")
    stamp = probe.send_until(lambda: len(depths) > 3, "depth without any sensor", START)
    wait(lambda: "nobody publishes /wheel/speed (speed_topic)" in newest(reports)["message"], "words")
    assert newest(reports)["level"] == "01"
    assert newest(reports)["imu_topic"] == "nobody publishes /imu/data (imu_topic)"
    probe.node.create_publisher(Image, "/wheel/speed", 10)
    stamp = probe.send_until(
        lambda: "has the type sensor_msgs/msg/Image; expected" in newest(reports)["speed_topic"],
        "the wrong type",
        stamp,
    )
    gyro = probe.node.create_publisher(Imu, "/imu/data", 10)

    def unmounted() -> bool:
        gyro.publish(rate(START, 0.1))
        return "no transform imu_link <- camera_optical" in newest(reports)["imu_topic"]

    probe.send_until(unmounted, "the missing mounting", stamp)
    wait(lambda: "is silent for" in newest(reports)["imu_topic"], "silence")


def test_readings_that_cannot_be_used_are_told_and_not_called_heard(ros: Graph) -> None:
    probe = Probe(ros)
    reports = probe.hear(DiagnosticArray, "/diagnostics")
    mountings(probe, np.eye(4), se3.make(se3.T_BODY_OPTICAL[:3, :3], (0.5, 0.0, 1.0)))
    wheels = probe.node.create_publisher(Odometry, "/wheel/odom", 10)
    gyro = probe.node.create_publisher(Imu, "/imu/data", 10)
    start(ros, speed_topic="/wheel/odom", imu_topic="/imu/data")
    stamp = START

    def send(speed: float, ahead_s: float) -> dict[str, str]:
        nonlocal stamp
        stamp += 20_000_000
        wheels.publish(odometry(stamp, speed, 0.0))
        gyro.publish(rate(stamp + round(ahead_s * 1e9), 0.1))
        probe.send(stamp)
        return newest(reports)

    wait(lambda: "values that are not finite" in send(np.nan, -3600.0).get("speed_topic", ""), "the NaN")
    wait(lambda: "are 3600 s behind the images'" in send(np.nan, -3600.0)["imu_topic"], "another clock")
    assert newest(reports)["level"] == "01" and "/wheel/odom" in newest(reports)["message"]
    wait(lambda: "3600 s ahead of the images'" in send(1.0, 3600.0)["imu_topic"], "another clock, ahead")
    wait(lambda: send(1.0, 0.0)["imu_topic"].startswith("heard"), "the clocks agree")
    assert newest(reports)["speed_topic"] == "heard on /wheel/odom"


def test_the_speed_needs_a_topic(ros: Graph) -> None:
    loaded = fake_loaded_model(FakeEstimator())
    settings = [Parameter("autostart", value=False), Parameter("scale", value="speed")]

    def load(given: Any) -> LoadedModel:
        next(iter(given.values())).estimator_config()  # as the real loader does
        return loaded

    node = ros.add(DepthNode(load=load, context=ros.context, parameter_overrides=settings))
    assert node.trigger_configure().name == "FAILURE"
