"""The node's subscriptions: images in either transport, their camera_info, and matching QoS."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from featdepth_ros.errors import ImageError
from featdepth_ros.messages.camera_info import names_rectified
from featdepth_ros.messages.compressed import video_codec
from featdepth_ros.messages.stamps import header_stamp_ns
from featdepth_ros.messages.video import PictureReader
from featdepth_ros.ros.compat import event_callbacks, keep_last, latches, publisher_reliabilities, resolved_topic
from featdepth_ros.ros.parameters.settings import Settings

_COMPRESSED = "/compressed"
#: Queue depth of compressed messages, because a video stream must lose none.
_PIECES = 10


@dataclass(frozen=True)
class Arrival:
    """An image message that arrived.

    Attributes:
        msg: the message.
        arrived_ns: time of arrival (``time.monotonic_ns``).
        picture: for a piece of a video stream: the decoded image, or the error of the decoder; else None.
    """

    msg: Image | CompressedImage
    arrived_ns: int
    picture: NDArray[np.uint8] | ImageError | None = None


@dataclass(frozen=True)
class Topics:
    """Fully qualified names after remapping.

    Attributes:
        image: topic of the image messages (with ``/compressed`` for that transport).
        camera_info: sibling of the image's base topic, unless ``camera_info`` was remapped itself.
        compressed: whether ``image`` carries CompressedImage.
        rectified: whether the name says that the image is rectified.
    """

    image: str
    camera_info: str
    compressed: bool
    rectified: bool


def input_topics(node: Node, transport: str, camera: str = "") -> Topics:
    """Return the names of the subscribed topics, chosen as image_transport and image_pipeline do.

    Args:
        node: node whose namespace and remappings apply.
        transport: ``raw`` or ``compressed``.
        camera: name of one of several cameras, a prefix of its topics; empty for a single camera.
    """
    before = f"{camera}/" if camera else ""
    image, _ = resolved_topic(node, f"{before}image_raw")
    compressed = transport == "compressed" or image.endswith(_COMPRESSED)
    base = image[: -len(_COMPRESSED)] if image.endswith(_COMPRESSED) else image
    info, remapped = resolved_topic(node, f"{before}camera_info")
    if not remapped:
        info = base.rsplit("/", 1)[0] + "/camera_info"
    return Topics(
        image=base + _COMPRESSED if compressed else base,
        camera_info=info,
        compressed=compressed,
        rectified=names_rectified(base),
    )


class ImageInput:
    """Subscriptions to one camera. Apart from decoding video, callbacks only store messages."""

    GRAPH_CHECK_S = 1.0

    def __init__(self, node: Node, settings: Settings, on_image: Callable[[Arrival], None], camera: str = "") -> None:
        self.topics = input_topics(node, settings.image_transport, camera)
        self._node = node
        self._on_image = on_image
        self._wanted = settings.reliability
        self._images: Subscription[Any] | None = None
        self._pictures = PictureReader()
        self.reliability = ReliabilityPolicy.BEST_EFFORT
        self.incompatible = 0
        self._infos: deque[tuple[int, CameraInfo]] = deque(maxlen=8)
        self._info_qos = (ReliabilityPolicy.BEST_EFFORT, False)
        self._info_subscription: Subscription[Any] | None = None
        self._subscribe_info(self._info_choice())
        self._subscribe_images(self._choice(self.topics.image))

    def destroy(self) -> None:
        """Unsubscribe."""
        for subscription in (self._images, self._info_subscription):
            if subscription is not None:
                self._node.destroy_subscription(subscription)
        self._images = self._info_subscription = None

    def camera_info(self, stamp: int) -> CameraInfo | None:
        """Return the camera_info with this stamp, else the newest; None before the first. Any thread may call this."""
        infos = list(self._infos)
        for info_stamp, info in reversed(infos):
            if info_stamp == stamp:
                return info
        return infos[-1][1] if infos else None

    def set_reliability(self, wanted: str) -> None:
        """Apply a new value of the parameter ``reliability``; subscribe again if it changes the QoS."""
        self._wanted = wanted
        self.follow_publishers()

    def follow_publishers(self) -> None:
        """Subscribe again if the publishers now offer another QoS. Executor thread."""
        choice = self._choice(self.topics.image)
        if choice != self.reliability:
            self._node.get_logger().info(f"{self.topics.image}: now subscribed {choice.name.lower()}")
            self._subscribe_images(choice)
        if self._info_choice() != self._info_qos:
            self._subscribe_info(self._info_choice())

    def rivals(self) -> str:
        """Return a warning if several nodes publish the images; empty: at most one does."""
        count = self._node.count_publishers(self.topics.image)
        if count < 2:
            return ""
        return f"{count} nodes publish {self.topics.image}: motion is lost between their images; stop all but one"

    def silence(self) -> str:
        """Return the likely cause of missing images, as text."""
        topic = self.topics.image
        infos = self._node.get_publishers_info_by_topic(topic)
        expected = "sensor_msgs/msg/CompressedImage" if self.topics.compressed else "sensor_msgs/msg/Image"
        if not infos:
            others = sorted(
                name
                for name, types in self._node.get_topic_names_and_types()
                if any(t in ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage") for t in types)
                and not name.startswith(self._node.get_fully_qualified_name() + "/")
                and name != topic
            )
            hint = f"; images are published on {', '.join(others[:4])}" if others else ""
            return f"nobody publishes {topic}: is the camera running, and is image_raw remapped to its topic?{hint}"
        types = sorted({info.topic_type for info in infos})
        if expected not in types:
            return f"{topic} has the type {', '.join(types)}; expected {expected}: set image_transport or the remapping"
        offered = {info.qos_profile.reliability for info in infos}
        if self.reliability == ReliabilityPolicy.RELIABLE and ReliabilityPolicy.RELIABLE not in offered:
            return f"{topic} is published best effort and subscribed reliable: set reliability to auto or best_effort"
        return (
            f"{topic} has a publisher but nothing arrives: is it sending? Large images need the DDS profile "
            "config/dds/fastdds_shm.xml on both sides"
        )

    def _choice(self, topic: str) -> ReliabilityPolicy:
        if self._wanted == "reliable":
            return ReliabilityPolicy.RELIABLE
        if self._wanted == "best_effort":
            return ReliabilityPolicy.BEST_EFFORT
        offered = publisher_reliabilities(self._node, topic)
        # Best effort receives from every publisher. Reliable receives from reliable ones only, but loses nothing.
        only_reliable = bool(offered) and all(r == ReliabilityPolicy.RELIABLE for r in offered)
        return ReliabilityPolicy.RELIABLE if only_reliable else ReliabilityPolicy.BEST_EFFORT

    def _subscribe_images(self, reliability: ReliabilityPolicy) -> None:
        if self._images is not None:
            self._node.destroy_subscription(self._images)
        self.reliability = reliability
        self._images = self._node.create_subscription(
            CompressedImage if self.topics.compressed else Image,
            self.topics.image,
            self._take,
            keep_last(_PIECES if self.topics.compressed else 1, reliability),
            event_callbacks=event_callbacks(self._incompatible),
        )

    def _info_choice(self) -> tuple[ReliabilityPolicy, bool]:
        """Return the reliability, and whether to request transient local, since some drivers latch camera_info."""
        if latches(self._node, self.topics.camera_info):
            return ReliabilityPolicy.RELIABLE, True
        return self._choice(self.topics.camera_info), False

    def _take(self, msg: Image | CompressedImage) -> None:
        """Pass an image on. Pieces of a video are decoded here, because each needs all earlier ones."""
        arrived_ns = time.monotonic_ns()
        picture: NDArray[np.uint8] | ImageError | None = None
        if video_codec(msg):
            try:
                picture = self._pictures.read(msg)
            except ImageError as error:
                picture = error
        self._on_image(Arrival(msg, arrived_ns, picture))

    def _subscribe_info(self, choice: tuple[ReliabilityPolicy, bool]) -> None:
        if self._info_subscription is not None:
            self._node.destroy_subscription(self._info_subscription)
        self._info_qos = choice
        self._info_subscription = self._node.create_subscription(
            CameraInfo,
            self.topics.camera_info,
            lambda msg: self._infos.append((header_stamp_ns(msg), msg)),
            keep_last(5, *choice),
            event_callbacks=event_callbacks(self._incompatible),
        )

    def _incompatible(self, event: Any) -> None:
        self.incompatible = int(event.total_count)
        self._node.get_logger().warning(
            f"a publisher of {self.topics.image} or its camera_info offers QoS that does not match this subscription "
            f"(subscribed {self.reliability.name.lower()}); set reliability to auto"
        )
