"""Observes a live graph: subscribes for a few seconds, then reads the endpoints of the relevant topics."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from featdepth_ros.errors import ImageError
from featdepth_ros.messages.compressed import video_codec
from featdepth_ros.messages.stamps import header_stamp_ns
from featdepth_ros.messages.video import PictureReader
from featdepth_ros.ros.compat import keep_last
from featdepth_ros.ros.doctor.observation import IMAGE_TYPES, Endpoint, Observation, Seen, Stream

#: Longest wait in seconds for the discovery of other nodes. It takes 0.1 s on an idle machine, 3 s on some networks.
_DISCOVERY_S = 4.0
_COMPRESSED = "/compressed"
#: Last parts of topic names that are likely the camera's images, the likeliest first.
_LIKELY = ("image_raw", "image_rect", "image_color", "color", "image")


class Watch:
    """Observes the graph around one camera.

    Args:
        node: node of the doctor.
        topic: image topic; None: the likeliest one.
        stop: set this event to end early.
    """

    def __init__(self, node: Node, topic: str | None, stop: threading.Event) -> None:
        self._node = node
        self._topic = None if topic is None else node.resolve_topic_name(topic)
        self._stop = stop
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._seen = Observation(seconds=0.0, domain=os.environ.get("ROS_DOMAIN_ID", "0"))
        self._diagnostics: dict[str, tuple[int, str]] = {}
        self._futures: dict[str, Any] = {}

    def observe(self, seconds: float) -> Observation:
        """Observe for ``seconds`` after the discovery and return the observation."""
        self._node.create_subscription(TFMessage, "/tf", self._on_tf, keep_last(100, ReliabilityPolicy.BEST_EFFORT))
        self._node.create_subscription(
            TFMessage, "/tf_static", self._on_tf_static, keep_last(100, ReliabilityPolicy.RELIABLE, True)
        )
        self._node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, keep_last(20, ReliabilityPolicy.BEST_EFFORT)
        )
        self._spin(_DISCOVERY_S, self._is_discovered)
        self._spin(0.5)  # give discovery time to match the new subscriptions
        self._take_stock()
        self._subscribe()
        self._ask_for_sim_time()
        self._seen.seconds = seconds
        self._spin(seconds)
        self._take_stock()
        self._seen.diagnostics = tuple(
            (name, level, text)
            for name, (level, text) in sorted(self._diagnostics.items())
            if any(name.startswith(node.lstrip("/")) for node in self._seen.depth_nodes)
        )
        for node, future in self._futures.items():
            if future.done() and future.result() is not None and future.result().values:
                self._seen.sim_time[node] = bool(parameter_value_to_python(future.result().values[0]))
        self._executor.remove_node(self._node)
        return self._seen

    def _spin(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._stop.is_set() and not enough():
            self._executor.spin_once(timeout_sec=0.05)

    def _is_discovered(self) -> bool:
        if self._topic is not None:
            return bool(self._node.count_publishers(self._topic))
        return bool(self._image_topics())

    # ---- who is there ----

    def _own_name(self) -> str:
        return str(self._node.get_fully_qualified_name())

    def _nodes(self) -> tuple[str, ...]:
        names = {
            f"{space.rstrip('/')}/{name}"
            for name, space in self._node.get_node_names_and_namespaces()
            if name[0] != "_"
        }
        return tuple(sorted(names - {self._own_name()}))

    def _depth_nodes(self) -> tuple[str, ...]:
        services = {name for name, _ in self._node.get_service_names_and_types()}
        return tuple(n for n in self._nodes() if {f"{n}/reset_odometry", f"{n}/enable"} <= services)

    def _image_topics(self) -> tuple[str, ...]:
        own = tuple(f"{name}/" for name in self._depth_nodes())
        topics = [
            name
            for name, types in self._node.get_topic_names_and_types()
            if set(types) & set(IMAGE_TYPES)
            and not (own and name.startswith(own))
            and "compressedDepth" not in name
            and self._node.count_publishers(name)
        ]
        return tuple(sorted(topics, key=lambda name: (_likeliness(name), name)))

    def _take_stock(self) -> None:
        seen = self._seen
        seen.nodes, seen.depth_nodes = self._nodes(), self._depth_nodes()
        seen.image_topics = self._image_topics()
        if not seen.images.topic:
            topic = self._topic or self._heard_by_a_depth_node() or next(iter(seen.image_topics), "")
            seen.images.topic = topic
            base = topic[: -len(_COMPRESSED)] if topic.endswith(_COMPRESSED) else topic
            seen.infos.topic = f"{base.rsplit('/', 1)[0]}/camera_info" if topic else ""
        for stream in (seen.images, seen.infos):
            self._ends(stream)
        outputs = [
            Stream(name)
            for name, _ in self._node.get_topic_names_and_types()
            if any(name.startswith(f"{node}/") for node in seen.depth_nodes) and self._node.count_subscribers(name)
        ]
        for stream in outputs:
            self._ends(stream)
        seen.outputs = tuple(outputs)
        seen.clock_publishers = self._node.count_publishers("/clock")

    def _heard_by_a_depth_node(self) -> str:
        for topic in self._seen.image_topics:
            hearers = {_name(info) for info in self._node.get_subscriptions_info_by_topic(topic)}
            if hearers & set(self._seen.depth_nodes):
                return topic
        return ""

    def _ends(self, stream: Stream) -> None:
        if not stream.topic:
            return
        stream.publishers = _endpoints(self._node.get_publishers_info_by_topic(stream.topic))
        subscribers = _endpoints(self._node.get_subscriptions_info_by_topic(stream.topic))
        stream.subscribers = tuple(s for s in subscribers if s.node != self._own_name())

    # ---- what comes ----

    def _subscribe(self) -> None:
        images, infos = self._seen.images, self._seen.infos
        types = {endpoint.type for endpoint in images.publishers}
        kind = CompressedImage if IMAGE_TYPES[1] in types else Image
        if not types or types & set(IMAGE_TYPES):
            self._hear(kind, images, latched=False)
        if infos.topic:
            latched = any(endpoint.latched for endpoint in infos.publishers)
            self._hear(CameraInfo, infos, latched)
            if latched and not all(endpoint.latched for endpoint in infos.publishers):
                self._hear(CameraInfo, infos, latched=False)

    def _hear(self, kind: type, stream: Stream, latched: bool) -> None:
        if not stream.topic:
            return

        pictures = PictureReader()

        def take(msg: Any) -> None:
            if video_codec(msg):
                try:
                    stream.picture = pictures.read(msg)
                except ImageError as error:
                    stream.picture = stream.picture if isinstance(stream.picture, np.ndarray) else error
            stream.seen.append(Seen(time.time_ns(), header_stamp_ns(msg), str(msg.header.frame_id)))
            stream.newest = msg

        reliability = ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT
        self._node.create_subscription(kind, stream.topic, take, keep_last(5, reliability, latched))

    def _ask_for_sim_time(self) -> None:
        for node in self._seen.depth_nodes:
            client = self._node.create_client(GetParameters, f"{node}/get_parameters")
            if client.service_is_ready():
                self._futures[node] = client.call_async(GetParameters.Request(names=["use_sim_time"]))

    def _on_tf(self, msg: TFMessage) -> None:
        self._note(msg, "/tf")

    def _on_tf_static(self, msg: TFMessage) -> None:
        self._note(msg, "/tf_static")

    def _note(self, msg: TFMessage, topic: str) -> None:
        for transform in msg.transforms:
            child, parent = transform.child_frame_id.lstrip("/"), transform.header.frame_id.lstrip("/")
            self._seen.parents.setdefault(child, set()).add((parent, topic))

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            self._diagnostics[status.name] = (int.from_bytes(status.level, "little"), status.message)


def _likeliness(topic: str) -> int:
    return next((rank for rank, word in enumerate(_LIKELY) if word in topic), len(_LIKELY))


def _name(info: Any) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def _endpoints(infos: Iterable[Any]) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(
            node=_name(info),
            type=str(info.topic_type),
            reliable=info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
            latched=info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        )
        for info in infos
    )
