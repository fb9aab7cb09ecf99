"""A small real ROS graph in this process: the node, and a probe that acts as camera and RViz."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class Graph:
    """Nodes in a separate context, which one thread spins."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes: list[Any] = []
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._stop = False
        self._thread.start()

    def _spin(self) -> None:
        while not self._stop:
            try:
                self.executor.spin_once(timeout_sec=0.05)
            except Exception as error:  # noqa: BLE001 - shown by the test
                self.failure = error

    def add(self, node: Any) -> Any:
        """Add a node to the spinning thread and return it."""
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def close(self) -> None:
        """Stop spinning, and destroy the nodes and the context."""
        import rclpy

        self._stop = True
        self._thread.join(10.0)
        for node in self.nodes:
            if hasattr(node, "release"):
                node.release()
            node.destroy_node()
        rclpy.shutdown(context=self.context)


@contextmanager
def graph() -> Iterator[Graph]:
    """Yield a `Graph` and close it."""
    made = Graph()
    try:
        yield made
    finally:
        made.close()


def wait(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> Any:
    """Poll a condition and return its first true value; fail with ``what`` after the timeout."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"timed out after {timeout_s} s: {what}")


def call(probe: Probe, kind: type, name: str, request: Any) -> Any:
    """Call a service and return its response."""
    client = probe.node.create_client(kind, name)
    assert client.wait_for_service(timeout_sec=20.0), name
    future = client.call_async(request)
    return wait(lambda: future.result() if future.done() else None, f"an answer of {name}")


class Probe:
    """Publishes as a camera, and receives the messages of the node.

    Args:
        graph: graph of the probe's node.
        reliable: whether it publishes with reliable QoS.
        name: name of its node.
        camera: namespace of its topics, and prefix of its frame's name.
    """

    def __init__(self, graph: Graph, reliable: bool = False, name: str = "probe", camera: str = "camera") -> None:
        import rclpy
        from rclpy.qos import ReliabilityPolicy
        from sensor_msgs.msg import CameraInfo, Image

        from featdepth_ros.ros.compat import keep_last

        self.node = graph.add(rclpy.create_node(name, context=graph.context))
        qos = keep_last(5, ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT)
        self.images = self.node.create_publisher(Image, f"/{camera}/image_raw", qos)
        self.infos = self.node.create_publisher(CameraInfo, f"/{camera}/camera_info", qos)
        self.frame_id = f"{camera}_optical"
        self.heard: dict[str, list[Any]] = {}

    def hear(self, kind: type, topic: str) -> list[Any]:
        """Subscribe to a topic and return the list to which messages are appended."""
        from rclpy.qos import ReliabilityPolicy

        from featdepth_ros.ros.compat import keep_last

        messages: list[Any] = []
        self.heard[topic] = messages
        self.node.create_subscription(kind, topic, messages.append, keep_last(50, ReliabilityPolicy.RELIABLE))
        return messages

    def info(self, stamp_ns: int, width: int = 64, height: int = 48, focal: float = 50.0) -> Any:
        """Return a pinhole CameraInfo."""
        from featdepth_ros.geometry.cameras import CameraModel
        from featdepth_ros.ros.calibration import info_from_camera

        camera = CameraModel(width, height, focal, focal, width / 2 - 0.5, height / 2 - 0.5)
        return info_from_camera(camera, stamp_ns, self.frame_id)

    def image(self, stamp_ns: int, width: int = 64, height: int = 48) -> Any:
        """Return an image with ramps of red and green and patches of blue, which depend on the stamp."""
        from featdepth_ros.ros.images import image_message

        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)[None]
        pixels[..., 1] = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
        patches = np.random.default_rng(stamp_ns % 2**32).integers(0, 256, (height // 8 + 1, width // 8 + 1))
        pixels[..., 2] = np.kron(patches, np.ones((8, 8)))[:height, :width]
        return image_message(pixels, "rgb8", stamp_ns, self.frame_id)

    def send(self, stamp_ns: int, *size: int) -> None:
        """Publish camera_info and image with one stamp; ``size`` is width and height, if not the default."""
        self.infos.publish(self.info(stamp_ns, *size))
        self.images.publish(self.image(stamp_ns, *size))

    def send_until(self, condition: Callable[[], Any], what: str, start_ns: int, timeout_s: float = 20.0) -> int:
        """Publish frames until a condition holds, and return the next stamp."""
        stamp = start_ns

        def once() -> Any:
            nonlocal stamp
            self.send(stamp)
            stamp += 50_000_000
            time.sleep(0.03)
            return condition()

        wait(once, what, timeout_s)
        return stamp


def cloud_arrays(msg: object) -> tuple[np.ndarray, np.ndarray]:
    """Return (h, w, 3) points and (h, w, 3) colours of a PointCloud2, which are read by its fields."""
    assert [(f.name, f.datatype, f.count) for f in msg.fields] == [(n, 7, 1) for n in ("x", "y", "z", "rgb")]
    kind = np.dtype(
        {
            "names": [f.name for f in msg.fields],
            "formats": ["<f4", "<f4", "<f4", "<u4"],
            "offsets": [f.offset for f in msg.fields],
            "itemsize": msg.point_step,
        }
    )
    table = np.frombuffer(msg.data, kind).reshape(msg.height, msg.width)
    rgb = table["rgb"]
    colours = np.stack([rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255], axis=-1)
    return np.stack([table["x"], table["y"], table["z"]], axis=-1), colours
