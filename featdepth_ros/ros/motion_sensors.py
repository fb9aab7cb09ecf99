"""Subscriptions to the robot's speed and gyroscope. They store readings for the window; no frame waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped, TwistWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import Imu

from featdepth_ros.inference.sensing.gyroscope import Gyroscope
from featdepth_ros.inference.sensing.sensors import MotionSensors
from featdepth_ros.inference.sensing.speedometer import Speedometer
from featdepth_ros.messages.motion_sensors import (
    IMU,
    ODOMETRY,
    TWIST_STAMPED,
    TWIST_WITH_COVARIANCE_STAMPED,
    SensorMessage,
    rate_of,
    twist_of,
)
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.frames.mounting import mounting
from featdepth_ros.ros.frames.tree import FrameTree
from featdepth_ros.ros.parameters.settings import Settings

_TWISTS: dict[str, Any] = {
    ODOMETRY: Odometry,
    TWIST_STAMPED: TwistStamped,
    TWIST_WITH_COVARIANCE_STAMPED: TwistWithCovarianceStamped,
}
#: Seconds without a message after which a sensor counts as silent.
_SILENT_S = 1.0
#: Seconds by which a sensor's newest stamp may be behind an image's, and ahead of it. Readings are kept for a minute.
_BEHIND_S, _AHEAD_S = 1.0, 30.0


class SensorTopic:
    """The topic of one sensor. Its type is that of its publishers.

    Args:
        node: node that subscribes.
        parameter: parameter that names the topic, for messages to the user.
        topic: name of the topic.
        types: message classes by type name.
        read: converts a message to a reading.
        store: receives each reading, on the executor's thread.

    Attributes:
        topic: name after remapping.
        frame: frame_id of the newest message; empty before the first.
        apart: warning that its stamps do not match the images' stamps; empty: they match.
    """

    def __init__(
        self,
        node: Node,
        parameter: str,
        topic: str,
        types: dict[str, Any],
        read: Callable[[Any], SensorMessage],
        store: Callable[[SensorMessage], None],
    ) -> None:
        self._node, self._parameter = node, parameter
        self.topic = node.resolve_topic_name(topic)
        self._types, self._read, self._store = types, read, store
        self._subscription: Subscription[Any] | None = None
        self._type = ""
        self._offered: list[str] = []
        self._arrived_s: float | None = None
        self._good = True
        self._newest_ns = 0
        self.frame = self.apart = ""
        self.follow_publishers()

    def follow_publishers(self) -> None:
        """Subscribe as soon as the type is known, and again when it changes."""
        self._offered = sorted({info.topic_type for info in self._node.get_publishers_info_by_topic(self.topic)})
        fitting = [name for name in self._offered if name in self._types]
        if not fitting or self._type in fitting:
            return
        self.destroy()
        self._type = fitting[0]
        # Best effort receives from every publisher, and a lost reading is interpolated.
        qos = keep_last(50, ReliabilityPolicy.BEST_EFFORT)
        self._subscription = self._node.create_subscription(self._types[self._type], self.topic, self._receive, qos)

    def destroy(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription, self._type = None, ""

    def trouble(self) -> str:
        """Return why there are no readings, as text; empty while they arrive."""
        named = f"{self.topic} ({self._parameter})"
        if self._arrived_s is not None:
            silent_s = time.monotonic() - self._arrived_s
            if silent_s > _SILENT_S:
                return f"{named} is silent for {silent_s:.0f} s"
            return "" if self._good else f"{named} sends values that are not finite"
        if not self._offered:
            return f"nobody publishes {named}"
        if not self._type:
            return f"{named} has the type {', '.join(self._offered)}; expected {' or '.join(self._types)}"
        return f"no message on {named} yet"

    def compare(self, image_ns: int) -> None:
        """Compare the newest stamp with ``image_ns``, that of an image that has just arrived; update `apart`."""
        ahead_s = (self._newest_ns - image_ns) / 1e9
        self.apart = ""
        if self._arrived_s is not None and not -_BEHIND_S <= ahead_s <= _AHEAD_S:
            where = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the images'"
            self.apart = (
                f"the stamps of {self.topic} ({self._parameter}) are {where}, so its readings cannot be used: do both "
                "drivers use the same clock?"
            )

    def _receive(self, msg: Any) -> None:
        self._arrived_s = time.monotonic()
        message = self._read(msg)
        self._good = bool(np.isfinite([*message.linear, *message.angular]).all())
        self._newest_ns = message.stamp_ns
        self.frame = message.frame
        self._store(message)


class MotionSensorTopics:
    """The topics of speed and gyroscope that the parameters name.

    Args:
        node: node that subscribes.
        settings: the parameters.
        sensors: sensors of the odometry camera, which receive the readings.
    """

    def __init__(self, node: Node, settings: Settings, sensors: MotionSensors) -> None:
        self._settings, self._log = settings, node.get_logger()
        self._speed: SensorTopic | None = None
        self._rate: SensorTopic | None = None
        self._gyroscope: Gyroscope | None = None
        self._speedometer: Speedometer | None = None
        self._unmounted = {"speed_topic": "", "imu_topic": ""}
        self._image_ns = 0
        if settings.speed_topic:
            self._speedometer = sensors.speedometer = speedometer = Speedometer()
            self._speed = SensorTopic(
                node, "speed_topic", settings.speed_topic, _TWISTS, twist_of,
                lambda m: speedometer.add(m.stamp_ns, m.linear, m.angular, m.variance),
            )  # fmt: skip
        if settings.imu_topic:
            self._gyroscope = sensors.gyroscope = gyroscope = Gyroscope()
            self._rate = SensorTopic(
                node, "imu_topic", settings.imu_topic, {IMU: Imu}, rate_of,
                lambda m: gyroscope.add(m.stamp_ns, m.angular, m.variance),
            )  # fmt: skip

    def destroy(self) -> None:
        """Unsubscribe."""
        for topic in (self._speed, self._rate):
            if topic is not None:
                topic.destroy()

    def check(self, tree: FrameTree, camera_frame: str, stamp_ns: int, image_ns: int) -> None:
        """Follow the publishers and the mountings. Called once a second on the executor's thread.

        Args:
            tree: transforms of /tf and /tf_static.
            camera_frame: optical frame of the odometry camera; empty: not known yet.
            stamp_ns: current time, nanoseconds.
            image_ns: stamp of that camera's newest image, nanoseconds.
        """
        new_image, self._image_ns = image_ns != self._image_ns, image_ns
        for topic in (self._speed, self._rate):
            if topic is None:
                continue
            topic.follow_publishers()
            if new_image:  # without new images, a growing difference of stamps is not the sensor's fault
                topic.compare(image_ns)
            if topic.frame and camera_frame:
                self._mount(topic, tree, camera_frame, stamp_ns)
        trouble = self.trouble()
        if trouble:
            self._log.warning(trouble, throttle_duration_sec=30.0)

    def trouble(self) -> str:
        """Return which readings are missing, and the consequence; empty while all sensors work."""
        troubles = []
        if self._speed is not None:
            missing = self._speed.trouble() or self._speed.apart
            if missing:
                troubles.append(f"{missing}: the scale stays at its last value and becomes less certain")
        if self._rate is not None:
            missing = self._rate.trouble() or self._unmounted["imu_topic"] or self._rate.apart or self._contradiction()
            if missing:
                troubles.append(f"{missing}: motion is estimated without the gyroscope")
        return "; ".join(troubles)

    def figures(self) -> tuple[tuple[str, str], ...]:
        """Return the (key, value) pairs of diagnostics about the sensors."""
        named = ((self._speed, "speed_topic"), (self._rate, "imu_topic"))
        return tuple(
            (
                name,
                topic.trouble()
                or self._unmounted[name]
                or topic.apart
                or (self._contradiction() if topic is self._rate else "")
                or f"heard on {topic.topic}",
            )
            for topic, name in named
            if topic is not None
        )

    def _contradiction(self) -> str:
        """Return a warning if gyroscope and images measure different rotations; empty: they agree, or it is unknown."""
        if self._rate is None or self._gyroscope is None or not self._gyroscope.contradicted:
            return ""
        return (
            f"{self._rate.topic} (imu_topic) measures another rotation than the images: is it in rad/s, and is the "
            "mounting of the gyroscope on /tf_static right?"
        )

    def _mount(self, topic: SensorTopic, tree: FrameTree, camera_frame: str, stamp_ns: int) -> None:
        frames = (self._settings.odom_frame, self._settings.base_frame)
        mounted = mounting(tree, topic.frame, camera_frame, frames, stamp_ns)
        T_sensor_camera = mounted.T_reference_camera
        name = "speed_topic" if topic is self._speed else "imu_topic"
        self._unmounted[name] = mounted.missing
        if T_sensor_camera is None:
            return
        if topic is self._speed and self._speedometer is not None:
            self._speedometer.mount(T_sensor_camera[:3, 3])
        elif self._gyroscope is not None:
            self._gyroscope.mount(T_sensor_camera[:3, :3].T)
