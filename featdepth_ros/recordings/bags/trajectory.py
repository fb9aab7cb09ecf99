"""Reads trajectories from bags: odometry, poses and transforms as lists of stamped poses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError, nearest_name
from featdepth_ros.messages.stamps import header_stamp_ns
from featdepth_ros.recordings.bags.source import BagSource
from featdepth_ros.recordings.bags.transforms import decoded, pose_of, transforms_between
from featdepth_ros.recordings.bags.types import GROUND_TRUTH_TOPIC, ODOMETRY, POSE_STAMPED, TF_MESSAGE

POSE_WITH_COVARIANCE_STAMPED = "geometry_msgs/msg/PoseWithCovarianceStamped"
TRANSFORM_STAMPED = "geometry_msgs/msg/TransformStamped"
PATH = "nav_msgs/msg/Path"
#: Topic on which a node without a namespace publishes its odometry.
_NODES_TOPIC = "/odom"
_POSE_TYPES = (ODOMETRY, POSE_STAMPED, POSE_WITH_COVARIANCE_STAMPED, TRANSFORM_STAMPED, PATH)

Trajectory = list[tuple[int, NDArray[np.float64]]]


def read_trajectory(path: str | Path, topic: str | None = None, *, estimate: bool = False) -> Trajectory:
    """Read one trajectory of a bag.

    Args:
        path: a ROS 1 or ROS 2 bag.
        topic: of Odometry, PoseStamped, PoseWithCovarianceStamped, TransformStamped, Path (its last message holds it
            whole) or TFMessage messages. A pair of frames of a TFMessage topic, linked directly or over others, is
            ``/tf:PARENT:CHILD``. None: ``/ground_truth/odom``, else the only topic of the first of these types that
            is there once (transforms are never guessed).
        estimate: an estimate is wanted: topics whose names hold ``truth`` are not taken beside others, and
            ``/odom``, where the node publishes, comes before others.

    Returns:
        (stamp_ns, T) in ascending order of stamps, T (4, 4) float64: the pose of the moving frame in the fixed one,
        as the message holds it. Poses that are not finite, and second ones of a stamp, are left out.

    Raises:
        RecordingError: no such topic, none or several to choose from, not a single valid pose, or one stamp for all.
    """
    source = BagSource(Path(path).expanduser())
    name, _, frames = (topic or "").partition(":")
    chosen = _choose(source, name or None, estimate)
    if source.topics[chosen].msgtype == TF_MESSAGE:
        stamped = transforms_between(source, chosen, frames)
    elif source.topics[chosen].msgtype == PATH:
        stamped = _last_path(source, chosen)
    else:
        stamped = ((header_stamp_ns(message), pose_of(message)) for message in decoded(source, chosen))
    poses: dict[int, NDArray[np.float64]] = {}
    valid = 0
    for stamp, pose in stamped:
        if pose is not None:
            valid += 1
            poses.setdefault(stamp, pose)
    if not poses:
        raise RecordingError(f"topic {chosen} of '{path}' has no valid pose; name another topic")
    if len(poses) == 1 and valid > 1:
        raise RecordingError(
            f"the {valid} poses of {chosen} in '{path}' all have the stamp {next(iter(poses)) / 1e9:g} s; expected "
            "each to have its own"
        )
    return sorted(poses.items(), key=lambda item: item[0])


def read_twist_covariances(
    path: str | Path, topic: str | None = None, *, estimate: bool = False
) -> dict[int, NDArray[np.float64]]:
    """Return the twist covariances of the trajectory that `read_trajectory` reads, by stamp.

    Args:
        path: see `read_trajectory`.
        topic: see `read_trajectory`.
        estimate: see `read_trajectory`.

    Returns:
        (6, 6) float64 of each stamp's first message: linear, then angular, (m/s)^2 and (rad/s)^2, in the axes of the
        moving frame. Empty when the topic holds no Odometry messages.

    Raises:
        RecordingError: see `read_trajectory`.
    """
    source = BagSource(Path(path).expanduser())
    chosen = _choose(source, (topic or "").partition(":")[0] or None, estimate)
    covariances: dict[int, NDArray[np.float64]] = {}
    if source.topics[chosen].msgtype == ODOMETRY:
        for message in decoded(source, chosen):
            covariance = np.array(message.twist.covariance, dtype=np.float64).reshape(6, 6)
            covariances.setdefault(header_stamp_ns(message), covariance)
    return covariances


def trajectory_of(source: BagSource, topic: str) -> tuple[str, Trajectory]:
    """Return (moving frame, trajectory) of an Odometry topic; as `read_trajectory` otherwise."""
    child = ""
    poses: dict[int, NDArray[np.float64]] = {}
    for message in decoded(source, topic):
        child = str(message.child_frame_id)
        pose = pose_of(message)
        if pose is not None:
            poses.setdefault(header_stamp_ns(message), pose)
    return child, sorted(poses.items(), key=lambda item: item[0])


def _last_path(source: BagSource, topic: str) -> Iterator[tuple[int, NDArray[np.float64] | None]]:
    last: list[Any] = []
    for message in decoded(source, topic):
        last = message.poses or last
    return ((header_stamp_ns(stamped), pose_of(stamped)) for stamped in last)


def _choose(source: BagSource, topic: str | None, estimate: bool) -> str:
    usable = {
        t.name: t.msgtype
        for t in source.topics.values()
        if t.msgtype in (*_POSE_TYPES, TF_MESSAGE) and t.convertible and t.count
    }
    listing = ", ".join(f"{name} ({msgtype})" for name, msgtype in usable.items()) or "none"
    if topic is not None:
        if topic in usable:
            return topic
        hint = nearest_name(topic, usable) if usable else ""
        raise RecordingError(f"'{source.path}' has no poses on {topic}{hint}; topics with poses: {listing}")
    if GROUND_TRUTH_TOPIC in usable and not estimate:
        return GROUND_TRUTH_TOPIC
    if usable.get(_NODES_TOPIC) == ODOMETRY and estimate:
        return _NODES_TOPIC
    others = {name: msgtype for name, msgtype in usable.items() if "truth" not in name}
    listed = others if estimate and others else usable
    for wanted in _POSE_TYPES:
        candidates = [name for name, msgtype in listed.items() if msgtype == wanted]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            break
    raise RecordingError(f"'{source.path}' does not hold one obvious trajectory; name the topic: {listing}")
