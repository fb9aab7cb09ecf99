"""Message types for reading and writing bags: their ROS 2 layouts, and comparison with ROS 1 layouts."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from featdepth_ros.errors import MissingDependencyError
from featdepth_ros.messages.camera_info import base_topic

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
ODOMETRY = "nav_msgs/msg/Odometry"
POSE_STAMPED = "geometry_msgs/msg/PoseStamped"
TF_MESSAGE = "tf2_msgs/msg/TFMessage"
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)
#: Video streams in messages: known by name, not decoded.
VIDEO_TYPES = (
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
    "foxglove_msgs/msg/CompressedVideo",
    "theora_image_transport/msg/Packet",
)

#: Topic of the true odometry in bags that this package writes.
GROUND_TRUTH_TOPIC = "/ground_truth/odom"


def require_rosbags() -> None:
    """Check that rosbags is installed.

    Raises:
        MissingDependencyError: rosbags is not installed.
    """
    try:
        import rosbags.rosbag2  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "bags need the Python packages rosbags and rosbags-image: pip install rosbags rosbags-image"
        ) from error


@lru_cache(maxsize=1)
def ros2_store() -> Typestore:
    """Return the store of ROS 2 message types (latest long-term layout; the types used here never changed)."""
    require_rosbags()
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.LATEST)


def same_layout(store: Typestore, other: Typestore, msgtype: str) -> bool:
    """Return whether ``msgtype`` has the same fields in two stores; the ``seq`` of a ROS 1 Header is ignored."""
    if msgtype == "std_msgs/msg/Header":
        return True
    if msgtype not in store.fielddefs or msgtype not in other.fielddefs:
        return False
    fields: list[Any] = [field for _, field in store.fielddefs[msgtype][1]]
    other_fields: list[Any] = [field for _, field in other.fielddefs[msgtype][1]]
    if fields != other_fields:
        return False
    return all(same_layout(store, other, name) for name in set(_message_types(fields)))


def _message_types(fields: list[Any]) -> list[str]:
    from rosbags.interfaces import Nodetype

    names = []
    for kind, content in fields:
        inner_kind, inner = (content[0]) if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE) else (kind, content)
        if inner_kind == Nodetype.NAME:
            names.append(inner)
    return names


def sibling_topic(image_topic: str, name: str = "camera_info") -> str:
    """Return image_pipeline's sibling of an image topic.

    ``/a/image_raw`` and ``/a/image_raw/compressed`` both give ``/a/camera_info``.
    """
    return f"{base_topic(image_topic).rsplit('/', 1)[0]}/{name}"
