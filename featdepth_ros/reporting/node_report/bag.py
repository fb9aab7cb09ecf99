"""Access to a bag that the node recorded: the role of each topic, and streams of messages.

Stamps are read from the first bytes of a message. So a message of a large bag is decoded only when its map is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import EvaluationError, FeatDepthError, nearest_name

if TYPE_CHECKING:
    from featdepth_ros.recordings.bags.source import BagSource

_IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_ODOMETRY = "nav_msgs/msg/Odometry"
_DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
#: CDR encapsulation, seconds, nanoseconds.
_HEADER_BYTES = 12
_DEPTH_SUFFIX, _TRACKS = "depth/image_rect", "/tracks"


@dataclass(frozen=True)
class Topics:
    """Topics of a recording by their role; None: the topic is missing.

    Attributes:
        depth: depth images that the node published.
        image: images that match the depth (the node's ``~/image_rect``), else the camera's images.
        input_image: input images of the node.
        odometry: odometry that the node published.
        truth_depth: ground-truth depth images.
        truth_odometry: ground-truth odometry.
        diagnostics: diagnostics of the node.
        sigma: standard deviations of the node's depth.
        tracks: images with the points that are used for motion and depth.
        network_depth: depth of the node's network, before the window corrected it.
    """

    depth: str | None = None
    image: str | None = None
    input_image: str | None = None
    odometry: str | None = None
    truth_depth: str | None = None
    truth_odometry: str | None = None
    diagnostics: str | None = None
    sigma: str | None = None
    tracks: str | None = None
    network_depth: str | None = None


@dataclass(frozen=True)
class Stamps:
    """Header stamps and recording times of one topic, nanoseconds, in the order of the bag, (N,) each."""

    header_ns: NDArray[np.int64]
    log_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.header_ns)


@dataclass(frozen=True)
class Diagnosis:
    """Diagnostics of the node: the last values, and all values of ``age_at_publish_ms`` in milliseconds."""

    values: Mapping[str, str] = field(default_factory=dict)
    ages_ms: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    levels: Mapping[str, int] = field(default_factory=dict)


def open_bag(path: str | Path) -> BagSource:
    """Open a bag.

    Raises:
        FeatDepthError: there is no bag, or it cannot be read.
    """
    from featdepth_ros.recordings.bags.source import BagSource
    from featdepth_ros.recordings.bags.storage.files import is_bag

    source = Path(path).expanduser()
    if not source.exists() or not is_bag(source):
        raise EvaluationError(f"no bag at {source}; expected a .bag, .db3 or .mcap file, or the folder of a ROS 2 bag")
    return BagSource(source)


def _holds_depth(topic: str) -> bool:
    """Return True for names such as ``/camera/depth/image_raw``; the node's namespace ``/depth_node`` is ignored."""
    words = [word for word in topic.split("/") if "node" not in word]
    return any("depth" in word or word == "sigma" for word in words)


def _parent(topic: str, levels: int = 1) -> str:
    return topic.rsplit("/", levels)[0]


def find_topics(bag: BagSource, given: Topics) -> Topics:
    """Find the roles of the topics by their types and names; given topics are kept.

    Names of ground truth contain ``truth``. True depth may also lie beside the camera's own image
    (``/camera/image_raw`` and ``/camera/depth/image_rect``). The node's depth is the remaining depth topic. If there
    are several, it is the one in the namespace of a node (``/depth_node``). Of several odometry topics, the node's own
    is the one named ``odom`` beside the node.

    Raises:
        EvaluationError: a given topic is not in the bag, or several topics could be the node's.
    """
    names = {topic.name: topic.msgtype for topic in bag.topics.values() if topic.count}
    for asked in (given.depth, given.image, given.odometry, given.truth_depth, given.truth_odometry):
        if asked is not None and asked not in names:
            raise EvaluationError(f"no topic '{asked}' with messages in {bag.path}{nearest_name(asked, names)}")
    images = [n for n, kind in names.items() if kind in _IMAGE_TYPES and not _holds_depth(n)]
    pictures = [n for n in images if not n.endswith(_TRACKS)]
    depths = [n for n, kind in names.items() if kind == _IMAGE_TYPES[0] and n.endswith(_DEPTH_SUFFIX)]
    beside = {f"{_parent(n)}/{_DEPTH_SUFFIX}" for n in pictures if not n.endswith("/image_rect")}
    truths = [n for n in depths if "truth" in n] or [n for n in depths if n in beside]
    nodes = [n for n in depths if "node" in _parent(n, 2)]
    if not truths and len(nodes) == 1:  # the camera's images were not recorded
        truths = [n for n in depths if n not in nodes]
    odometries = [n for n, kind in names.items() if kind == _ODOMETRY]
    true_odometries = [n for n in odometries if "truth" in n]

    truth_depth = given.truth_depth or _only(truths, "true depth", "--truth-depth", bag)
    depth = given.depth or _only([n for n in depths if n not in (*truths, truth_depth)], "depth", "--depth", bag)
    truth_odometry = given.truth_odometry or _only(true_odometries, "true odometry", "--truth-odometry", bag)
    estimated = [n for n in odometries if n not in (*true_odometries, truth_odometry)]
    own_odometry = [n for n in (f"{_parent(depth or '', 3)}/odom", "/odom") if n in estimated]
    odometry = given.odometry or _only(own_odometry[:1] or estimated, "odometry", "--odometry", bag)
    own = f"{_parent(depth, 2)}/image_rect" if depth else None
    sigma = f"{_parent(depth)}/sigma" if depth else None
    tracks = _parent(depth, 2) + _TRACKS if depth else None
    network = f"{_parent(depth)}/network" if depth else None
    inputs = [n for n in pictures if n != own]
    input_image = given.image or (inputs[0] if len(inputs) == 1 else _raw(inputs))
    diagnostics = [n for n, kind in names.items() if kind == _DIAGNOSTICS]
    return Topics(
        depth=depth,
        image=given.image or (own if own in pictures else input_image),
        input_image=input_image,
        odometry=odometry,
        truth_depth=truth_depth,
        truth_odometry=truth_odometry,
        diagnostics=diagnostics[0] if diagnostics else None,
        sigma=sigma if sigma in names else None,
        tracks=tracks if tracks in names else None,
        network_depth=network if network in names else None,
    )


def _raw(topics: Sequence[str]) -> str | None:
    raws = [topic for topic in topics if topic.endswith("/image_raw")]
    return raws[0] if len(raws) == 1 else None


def _only(candidates: Sequence[str], what: str, flag: str, bag: BagSource) -> str | None:
    if len(candidates) > 1:
        raise EvaluationError(
            f"{bag.path} holds several topics of {what}: {', '.join(candidates)}; choose one with {flag}"
        )
    return candidates[0] if candidates else None


def read_stamps(bag: BagSource, topic: str) -> Stamps:
    """Read the header stamps of a topic without decoding its messages. Its type must begin with a std_msgs/Header."""
    header, log = [], []
    for message in bag.messages([topic]):
        log.append(message.log_ns)
        if len(message.data) < _HEADER_BYTES:  # truncated: no frame has this stamp, and the count stays right
            header.append(-1)
            continue
        order = "<" if bytes(message.data[1:2]) == b"\x01" else ">"  # the CDR encapsulation names the byte order
        seconds, nanoseconds = struct.unpack_from(f"{order}iI", message.data, 4)
        header.append(seconds * 1_000_000_000 + nanoseconds)
    return Stamps(np.array(header, dtype=np.int64), np.array(log, dtype=np.int64))


@dataclass(frozen=True)
class RecordedOdometry:
    """Messages of an Odometry topic, in the order of the bag.

    Attributes:
        stamps_ns: (N,) header stamps.
        poses: (N, 4, 4) poses of the child frame.
        twist_covariances: (N, 6, 6), in (m/s)^2 and (rad/s)^2.
        child: name of the child frame.
    """

    stamps_ns: NDArray[np.int64]
    poses: NDArray[np.float64]
    twist_covariances: NDArray[np.float64]
    child: str


def read_odometry(bag: BagSource, topic: str) -> RecordedOdometry:
    """Read an Odometry topic.

    Raises:
        EvaluationError: the topic holds no message.
    """
    from featdepth_ros.messages.stamps import header_stamp_ns
    from featdepth_ros.recordings.datasets.pose_files import poses_from_quaternions

    stamps, positions, quaternions, covariances, child = [], [], [], [], ""
    for raw in bag.messages([topic]):
        message = bag.decode(raw)
        pose = message.pose.pose
        stamps.append(header_stamp_ns(message))
        positions.append((pose.position.x, pose.position.y, pose.position.z))
        quaternions.append((pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w))
        covariances.append(np.array(message.twist.covariance, dtype=np.float64).reshape(6, 6))
        child = str(message.child_frame_id)
    if not stamps:
        raise EvaluationError(f"topic {topic} of {bag.path} holds no message")
    poses = poses_from_quaternions(topic, positions, quaternions)
    return RecordedOdometry(np.array(stamps, dtype=np.int64), poses, np.stack(covariances), child)


def read_diagnosis(bag: BagSource, topic: str) -> Diagnosis:
    """Collect the statuses of the node, which are those that report ``age_at_publish_ms``."""
    values: dict[str, str] = {}
    ages: list[float] = []
    levels: dict[str, int] = {}
    previous = ""
    for raw in bag.messages([topic]):
        for status in bag.decode(raw).status:
            entries = {entry.key: entry.value for entry in status.values}
            if "age_at_publish_ms" not in entries:
                continue
            values = entries
            levels[str(status.message)] = levels.get(str(status.message), 0) + 1
            if entries["age_at_publish_ms"] and entries.get("processed", "") != previous:
                ages.append(float(entries["age_at_publish_ms"]))
            previous = entries.get("processed", "")
    return Diagnosis(values, np.array(ages), levels)


def decoded_at(bag: BagSource, topic: str, positions: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Yield (position, message) of the messages at the given positions of a topic, in the order of the bag."""
    wanted = set(positions)
    last = max(wanted, default=-1)
    for position, raw in enumerate(bag.messages([topic])):
        if position in wanted:
            yield position, bag.decode(raw)
        if position >= last:
            return


class InOrder:
    """Returns decoded messages by position and reads the bag once; positions are requested mostly in order."""

    def __init__(self, bag: BagSource, topic: str, positions: Sequence[int]) -> None:
        self._stream = decoded_at(bag, topic, positions)
        self._ahead: dict[int, Any] = {}
        self._topic = topic

    def __call__(self, position: int) -> Any:
        """Return the message at a position once; it is not kept afterwards.

        Raises:
            FeatDepthError: the bag ends before it.
        """
        while position not in self._ahead:
            try:
                index, message = next(self._stream)
            except StopIteration:
                raise FeatDepthError(f"message {position} of {self._topic} cannot be read a second time") from None
            self._ahead[index] = message
        return self._ahead.pop(position)
