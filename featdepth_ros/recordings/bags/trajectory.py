"""Trajectories in bags: odometry, poses and transforms as lists of stamped poses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError, nearest_name
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.messages.stamps import header_stamp_ns
from featdepth_ros.recordings.bags.source import BagSource
from featdepth_ros.recordings.bags.types import (
    GROUND_TRUTH_TOPIC,
    ODOMETRY,
    POSE_STAMPED,
    TF_MESSAGE,
)

POSE_WITH_COVARIANCE_STAMPED = "geometry_msgs/msg/PoseWithCovarianceStamped"
TRANSFORM_STAMPED = "geometry_msgs/msg/TransformStamped"
_POSE_TYPES = (ODOMETRY, POSE_STAMPED, POSE_WITH_COVARIANCE_STAMPED, TRANSFORM_STAMPED)

Trajectory = list[tuple[int, NDArray[np.float64]]]


def read_trajectory(path: str | Path, topic: str | None = None) -> Trajectory:
    """Read one trajectory of a bag.

    Args:
        path: a ROS 1 or ROS 2 bag.
        topic: of Odometry, PoseStamped, PoseWithCovarianceStamped, TransformStamped or TFMessage messages; one pair of
            frames of a TFMessage topic is ``/tf:PARENT:CHILD``. None: ``/ground_truth/odom``, else the only topic of
            the first of these types that is there once (transforms are never guessed).

    Returns:
        (stamp_ns, T) in ascending order of stamps, T (4, 4) float64: the pose of the moving frame in the fixed one,
        as the message holds it. Poses that are not finite, and second ones of a stamp, are left out.

    Raises:
        RecordingError: no such topic, none or several to choose from, or not a single valid pose.
    """
    source = BagSource(Path(path).expanduser())
    name, _, frames = (topic or "").partition(":")
    chosen = _choose(source, name or None)
    if source.topics[chosen].msgtype == TF_MESSAGE:
        stamped = _transforms(source, chosen, frames)
    else:
        stamped = ((header_stamp_ns(message), _pose(message)) for message in _messages(source, chosen))
    poses: dict[int, NDArray[np.float64]] = {}
    for stamp, pose in stamped:
        if pose is not None:
            poses.setdefault(stamp, pose)
    if not poses:
        raise RecordingError(f"topic {chosen} of '{path}' holds no valid pose")
    return sorted(poses.items(), key=lambda item: item[0])


def read_twist_covariances(path: str | Path, topic: str | None = None) -> dict[int, NDArray[np.float64]]:
    """Return the twist covariances of the trajectory that `read_trajectory` reads, by stamp.

    Args:
        path: see `read_trajectory`.
        topic: see `read_trajectory`.

    Returns:
        (6, 6) float64 of each stamp's first message: linear, then angular, (m/s)^2 and (rad/s)^2, in the axes of the
        moving frame. Empty when the topic holds no Odometry messages.

    Raises:
        RecordingError: see `read_trajectory`.
    """
    source = BagSource(Path(path).expanduser())
    chosen = _choose(source, (topic or "").partition(":")[0] or None)
    covariances: dict[int, NDArray[np.float64]] = {}
    if source.topics[chosen].msgtype == ODOMETRY:
        for message in _messages(source, chosen):
            covariance = np.array(message.twist.covariance, dtype=np.float64).reshape(6, 6)
            covariances.setdefault(header_stamp_ns(message), covariance)
    return covariances


def trajectory_of(source: BagSource, topic: str) -> tuple[str, Trajectory]:
    """Return (moving frame, trajectory) of an Odometry topic; as `read_trajectory` otherwise."""
    child = ""
    poses: dict[int, NDArray[np.float64]] = {}
    for message in _messages(source, topic):
        child = str(message.child_frame_id)
        pose = _pose(message)
        if pose is not None:
            poses.setdefault(header_stamp_ns(message), pose)
    return child, sorted(poses.items(), key=lambda item: item[0])


def static_transform(source: BagSource, parent: str, child: str) -> NDArray[np.float64] | None:
    """Return T_parent_child from ``/tf_static`` for any two linked frames, or None when they are not linked."""
    links: dict[str, tuple[str, NDArray[np.float64]]] = {}
    if "/tf_static" in source.topics:
        for message in _messages(source, "/tf_static"):
            for stamped in message.transforms:
                above, below = _link(stamped)
                matrix = _pose(stamped)
                if matrix is not None:
                    links[below] = (above, matrix)
    of_parent, of_child = _ancestors(links, parent.strip("/")), _ancestors(links, child.strip("/"))
    for frame, T_frame_child in of_child.items():
        if frame in of_parent:
            return se3.inverse(of_parent[frame]) @ T_frame_child
    return None


def _ancestors(links: dict[str, tuple[str, NDArray[np.float64]]], frame: str) -> dict[str, NDArray[np.float64]]:
    """Return T_ancestor_frame of the frame itself and of every frame above it, nearest first."""
    ancestors, result = {frame: np.eye(4)}, np.eye(4)
    while frame in links:
        frame, matrix = links[frame]
        if frame in ancestors:  # a loop of frames
            break
        result = matrix @ result
        ancestors[frame] = result
    return ancestors


def _messages(source: BagSource, topic: str) -> Iterator[Any]:
    for raw in source.messages([topic]):
        try:
            yield source.decode(raw)
        except RecordingError:
            continue


def _choose(source: BagSource, topic: str | None) -> str:
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
    if GROUND_TRUTH_TOPIC in usable:
        return GROUND_TRUTH_TOPIC
    for wanted in _POSE_TYPES:
        candidates = [name for name, msgtype in usable.items() if msgtype == wanted]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            break
    raise RecordingError(f"'{source.path}' does not hold one obvious trajectory; name the topic: {listing}")


def _pose(message: Any) -> NDArray[np.float64] | None:
    if hasattr(message, "transform"):
        return _matrix(message.transform.translation, message.transform.rotation)
    pose = message.pose.pose if hasattr(message.pose, "pose") else message.pose
    return _matrix(pose.position, pose.orientation)


def _matrix(p: Any, q: Any) -> NDArray[np.float64] | None:
    try:
        pose = se3.from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
    except ValueError:
        return None
    return pose if np.isfinite(pose).all() else None


def _transforms(source: BagSource, topic: str, frames: str) -> Iterator[tuple[int, NDArray[np.float64] | None]]:
    links: Counter[tuple[str, str]] = Counter()
    for message in _messages(source, topic):
        links.update(_link(t) for t in message.transforms)
    names = ", ".join(f"{topic}:{parent}:{child} ({count})" for (parent, child), count in links.items())
    if frames:
        parent, _, child = frames.partition(":")
        wanted = (parent.strip("/"), child.strip("/"))
        if wanted not in links:
            raise RecordingError(f"{topic} holds no transform from {parent} to {child}; it holds: {names or 'none'}")
    elif len(links) == 1:
        wanted = next(iter(links))
    else:
        raise RecordingError(f"{topic} holds {len(links)} transforms; name one: {names or 'none'}")
    for message in _messages(source, topic):
        for stamped in message.transforms:
            if _link(stamped) == wanted:
                yield header_stamp_ns(stamped), _pose(stamped)


def _link(stamped: Any) -> tuple[str, str]:
    return str(stamped.header.frame_id).strip("/"), str(stamped.child_frame_id).strip("/")
