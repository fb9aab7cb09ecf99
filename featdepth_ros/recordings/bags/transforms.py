"""Reads transforms from bags: single messages, static ones, and pairs of frames linked over others."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.messages.stamps import header_stamp_ns
from featdepth_ros.recordings.bags.source import BagSource

#: Longest gap (ns) between two transforms of one link that is bridged by interpolation.
_BRIDGED_NS = 10_000_000_000


def decoded(source: BagSource, topic: str) -> Iterator[Any]:
    """Yield the messages of a topic, without those that cannot be decoded."""
    for raw in source.messages([topic]):
        try:
            yield source.decode(raw)
        except RecordingError:
            continue


def pose_of(message: Any) -> NDArray[np.float64] | None:
    """Return the (4, 4) pose in a message; None if its values are no pose."""
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


def _link(stamped: Any) -> tuple[str, str]:
    return str(stamped.header.frame_id).strip("/"), str(stamped.child_frame_id).strip("/")


def static_transform(source: BagSource, parent: str, child: str) -> NDArray[np.float64] | None:
    """Return T_parent_child from ``/tf_static`` for any two linked frames, or None when they are not linked."""
    links: dict[str, tuple[str, NDArray[np.float64]]] = {}
    if "/tf_static" in source.topics:
        for message in decoded(source, "/tf_static"):
            for stamped in message.transforms:
                above, below = _link(stamped)
                matrix = pose_of(stamped)
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
        if frame in ancestors:  # the frames form a loop
            break
        result = matrix @ result
        ancestors[frame] = result
    return ancestors


@dataclass
class _Link:
    """The transforms T_parent_child of one pair of frames in order of stamps; a static one is valid at all times."""

    static: bool
    poses: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    count: int = 0
    _stamps: list[int] = field(default_factory=list)

    def at(self, stamp_ns: int) -> NDArray[np.float64] | None:
        """Return the transform at a stamp, interpolated; None outside the stamps and in long gaps."""
        if self.static:
            return next(reversed(self.poses.values()), None)
        if stamp_ns in self.poses:
            return self.poses[stamp_ns]
        if len(self._stamps) != len(self.poses):
            self._stamps = sorted(self.poses)
        after = bisect_left(self._stamps, stamp_ns)
        if after in (0, len(self._stamps)):
            return None
        earlier, later = self._stamps[after - 1 : after + 1]
        if later - earlier > _BRIDGED_NS:
            return None
        share = (stamp_ns - earlier) / (later - earlier)
        return se3.interpolate(self.poses[earlier], self.poses[later], share)


def transforms_between(source: BagSource, topic: str, frames: str) -> Iterator[tuple[int, NDArray[np.float64] | None]]:
    """Yield (stamp in ns, T_parent_child) of a pair of frames of a TFMessage topic.

    Frames that are linked over others are chained, also over ``/tf_static``. The stamps are those of the link with the
    most messages; the others are interpolated at these stamps.

    Args:
        source: the bag.
        topic: of TFMessage messages.
        frames: ``PARENT:CHILD``; empty for the only pair there is.

    Raises:
        RecordingError: the frames are not linked, or several pairs and none named; the message lists them.
    """
    links = _links(source, topic, static=False)
    names = ", ".join(f"{topic}:{parent}:{child} ({link.count})" for (parent, child), link in links.items())
    if frames:
        first, _, second = frames.partition(":")
        parent, child = first.strip("/"), second.strip("/")
    elif len(links) == 1:
        parent, child = next(iter(links))
    else:
        raise RecordingError(f"{topic} holds {len(links)} transforms; name one: {names or 'none'}")
    if (parent, child) not in links and topic != "/tf_static" and "/tf_static" in source.topics:
        links = {**_links(source, "/tf_static", static=True), **links}
    way = _way(links, parent, child)
    if way is None:
        raise RecordingError(f"{topic} holds no transform from {parent} to {child}; it holds: {names or 'none'}")
    timing = max((link for link, _ in way), key=lambda link: (not link.static, link.count))
    for stamp in timing.poses:
        yield stamp, _chained(way, stamp)


def _links(source: BagSource, topic: str, static: bool) -> dict[tuple[str, str], _Link]:
    links: dict[tuple[str, str], _Link] = {}
    for message in decoded(source, topic):
        for stamped in message.transforms:
            link = links.setdefault(_link(stamped), _Link(static))
            link.count += 1
            pose = pose_of(stamped)
            if pose is None:
                continue
            if topic == "/tf_static":  # a later message corrects an earlier one, often with the same stamp, 0
                link.poses.pop(header_stamp_ns(stamped), None)
            link.poses.setdefault(header_stamp_ns(stamped), pose)
    return links


def _way(links: dict[tuple[str, str], _Link], parent: str, child: str) -> list[tuple[_Link, bool]] | None:
    """Return the shortest chain of links from parent to child, each with whether it is walked upwards."""
    ways: dict[str, list[tuple[_Link, bool]]] = {parent: []}
    waiting = deque([parent])
    while waiting:
        frame = waiting.popleft()
        if frame == child and ways[frame]:
            return ways[frame]
        for (above, below), link in links.items():
            for here, there, upwards in ((above, below, False), (below, above, True)):
                if here == frame and there not in ways:
                    ways[there] = [*ways[frame], (link, upwards)]
                    waiting.append(there)
    return None


def _chained(way: list[tuple[_Link, bool]], stamp_ns: int) -> NDArray[np.float64] | None:
    result = np.eye(4)
    for link, upwards in way:
        step = link.at(stamp_ns)
        if step is None:
            return None
        result = result @ (se3.inverse(step) if upwards else step)
    return result
