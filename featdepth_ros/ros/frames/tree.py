"""The frames of /tf and /tf_static: the chain from a camera to its base, and the root above the base.

It replaces tf2's buffer, whose Python part needs the C++ module tf2_py. Only the newest value of fixed transforms is
kept. Moving ones are kept for a few seconds, so that a camera on a pan-tilt head has its mounting at an image's stamp.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3

Matrix = NDArray[np.float64]

#: World frames by REP-105 or by convention: above the base, they are not part of the robot.
WORLD_FRAMES = ("odom", "map", "earth", "world")
#: Begins the message about another publisher of this node's transform; `featdepth doctor` recognises it.
RIVAL = "another node publishes"
#: Seconds after which a moving transform without new messages has no publisher any more.
FORGOTTEN_S = 3.0
#: Number of moving transforms kept per frame: two seconds of a joint at 100 Hz.
_KEPT = 200
#: Nanoseconds for which the newest moving transform is extrapolated: while the joint moves, and while it rests.
_HOLDS_MOVING_NS, _HOLDS_RESTING_NS = 10_000_000, 1_000_000_000
#: Nanoseconds by which stamps go back when a bag restarts; smaller steps are messages out of order.
_STEP_BACK_NS = 1_000_000_000
#: A joint rests if no element of its transform changes by more than this (metres, or rotation matrix elements).
_REST = 1e-4


@dataclass(frozen=True)
class Edge:
    """The transform between a frame and its parent.

    Attributes:
        parent: name of the parent.
        T_parent_child: (4, 4) pose of the frame in its parent.
        static: whether it was published on /tf_static.
        stamp_ns: stamp of the message, nanoseconds.
    """

    parent: str
    T_parent_child: Matrix
    static: bool
    stamp_ns: int = 0


@dataclass(frozen=True)
class Extrinsics:
    """The mounting of the camera on its base.

    Attributes:
        base: the frame whose motion is reported.
        T_base_camera: (4, 4) pose of the camera; None if the camera's own frame is the base.
        moving: frames in between whose transform was published on /tf, not /tf_static (a pan-tilt head).
        missing: why a moving transform is unknown at the stamp; empty: all are known.
    """

    base: str
    T_base_camera: Matrix | None
    moving: tuple[str, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Attachment:
    """The frame at which this node's transform joins the robot's tree.

    Attributes:
        root: root of the robot's own tree: the base, or a frame that /tf_static puts above it (base_footprint).
        T_root_base: (4, 4) pose of the base in the root.
        rival: another published transform of the same frame, as text; empty: there is none.
    """

    root: str
    T_root_base: Matrix
    rival: str = ""


@dataclass(frozen=True)
class _Heard:
    edge: Edge
    at_s: float
    round: int


class FrameTree:
    """The received transforms to the parent of every frame. Any thread may use it.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._fixed: dict[str, dict[str, _Heard]] = {}
        self._moving: dict[str, deque[_Heard]] = {}
        self._round = 0

    def set(self, child: str, edge: Edge) -> None:
        """Store a transform; a fixed one replaces the earlier fixed one of the same frame.

        A transform between a frame and itself, or without a name, is ignored, as in tf2. After a step back in time (a
        bag that restarts), the earlier moving transforms are forgotten.
        """
        if not child or edge.parent in ("", child):
            return
        heard = _Heard(edge, self._clock(), self._round)
        with self._lock:
            if not edge.static:
                kept = self._moving.setdefault(child, deque(maxlen=_KEPT))
                if kept and edge.stamp_ns < kept[-1].edge.stamp_ns - _STEP_BACK_NS:
                    kept.clear()
                kept.append(heard)
                return
            parents = self._fixed.setdefault(child, {})
            parents.pop(edge.parent, None)
            parents[edge.parent] = heard  # the last entry is the newest

    def new_round(self) -> None:
        """Begin a round in which the publishers of fixed transforms repeat them; see `drop_unrepeated`."""
        with self._lock:
            self._round += 1

    def drop_unrepeated(self, odom: str) -> None:
        """Forget frames that were fixed to the world and not repeated in this round: their publisher is gone.

        Other fixed transforms stay, as in tf2.
        """
        with self._lock:
            for parents in self._fixed.values():
                gone = [p for p, heard in parents.items() if _is_world(p, odom) and heard.round < self._round]
                for parent in gone:
                    del parents[parent]

    def extrinsics(self, camera: str, base: str, odom: str, stamp_ns: int | None = None) -> Extrinsics | None:
        """Return the mounting of a camera on its base; None if the camera's frame has no parent at all.

        Without a connection to ``base``, the root of the camera's own fixed tree is the base. Such a root is
        ``camera_link`` of a driver without a mounting on a robot. A second parent of the optical frame would break the
        tree.

        Args:
            camera: optical frame of the camera.
            base: frame whose motion is reported.
            odom: frame in which it is reported, which is not part of the robot.
            stamp_ns: time of moving transforms, nanoseconds; None: the newest.
        """
        with self._lock:
            names, edges = [camera], []
            while names[-1] != base:
                edge = self._upwards(names[-1], odom, stamp_ns)
                if edge is None or edge.parent in names:
                    break
                edges.append(edge)
                names.append(edge.parent)
        if names[-1] != base:  # a moving transform that does not lead to the base is odometry, not a joint
            fixed = next((i for i, edge in enumerate(edges) if not edge.static), len(edges))
            names, edges = names[: fixed + 1], edges[:fixed]
        if len(names) == 1:
            return Extrinsics(base, None) if camera == base else None
        T = np.eye(4)
        for edge in edges:
            T = edge.T_parent_child @ T
        moving = tuple(name for name, edge in zip(names, edges, strict=False) if not edge.static)
        lost = [name for name, edge in zip(names, edges, strict=False) if not np.isfinite(edge.T_parent_child).all()]
        missing = self._why_missing(lost[0], stamp_ns) if lost else ""
        return Extrinsics(names[-1], T, moving, missing)

    def attachment(self, base: str, odom: str) -> Attachment:
        """Return the root of the robot's tree above ``base``, and another publisher of its motion, if any."""
        names, T = [base], np.eye(4)
        with self._lock:
            while True:
                rival = self._rival(names[-1], odom)
                edge = self._fixed_edge(names[-1], odom)
                if rival or edge is None or edge.parent in names:
                    return Attachment(names[-1], T, rival)
                T = edge.T_parent_child @ T
                names.append(edge.parent)

    def other_parent(self, child: str) -> str:
        """Return the published transform of this frame to any parent, as text; empty: there is none."""
        with self._lock:
            return self._rival(child, "", any_parent=True)

    def _fixed_edge(self, child: str, odom: str) -> Edge | None:
        edges = [heard.edge for parent, heard in self._fixed.get(child, {}).items() if not _is_world(parent, odom)]
        return edges[-1] if edges else None

    def _upwards(self, child: str, odom: str, stamp_ns: int | None) -> Edge | None:
        """Return the transform to a parent that is no world frame; NaN where it is unknown at the stamp."""
        fixed = self._fixed_edge(child, odom)
        heard = self._moving.get(child)
        if fixed is not None or not heard or _is_world(heard[-1].edge.parent, odom):
            return fixed
        parent = heard[-1].edge.parent
        T = _at([h.edge for h in heard if h.edge.parent == parent], stamp_ns)
        return Edge(parent, np.full((4, 4), np.nan) if T is None else T, static=False)

    def _rival(self, child: str, odom: str, any_parent: bool = False) -> str:
        for parent in self._fixed.get(child, {}):
            if any_parent or _is_world(parent, odom):
                return f"{parent} -> {child} on /tf_static"
        heard = self._moving.get(child)
        if heard and self._clock() - heard[-1].at_s < FORGOTTEN_S:
            return f"{heard[-1].edge.parent} -> {child} on /tf"
        return ""

    def _why_missing(self, child: str, stamp_ns: int | None) -> str:
        newest = self._moving[child][-1].edge
        seconds = ((stamp_ns or 0) - newest.stamp_ns) / 1e9
        where = f"its newest is {seconds:.3f} s older" if seconds > 0 else "its oldest kept one is later"
        return (
            f"{newest.parent} -> {child} moves on /tf and is not known at the image's stamp ({where}): the motion of "
            "the base is reported again when it is. Do its publisher and the camera have the same clock?"
        )


def _is_world(frame: str, odom: str) -> bool:
    return frame == odom or frame.rsplit("/", 1)[-1] in WORLD_FRAMES


def _at(edges: list[Edge], stamp_ns: int | None) -> Matrix | None:
    """Return the transform at a stamp; None if neither neighbouring stamps nor a resting joint determine it."""
    edges = sorted(edges, key=lambda edge: edge.stamp_ns)
    newest = edges[-1]
    if stamp_ns is None or stamp_ns == newest.stamp_ns:
        return newest.T_parent_child
    if stamp_ns > newest.stamp_ns:
        before = edges[-2] if len(edges) > 1 else newest
        rests = bool(np.abs(before.T_parent_child - newest.T_parent_child).max() < _REST)
        held = stamp_ns - newest.stamp_ns <= (_HOLDS_RESTING_NS if rests else _HOLDS_MOVING_NS)
        return newest.T_parent_child if held else None
    for first, second in pairwise(edges):
        if first.stamp_ns <= stamp_ns <= second.stamp_ns:
            fraction = (stamp_ns - first.stamp_ns) / max(second.stamp_ns - first.stamp_ns, 1)
            return np.asarray(se3.interpolate(first.T_parent_child, second.T_parent_child, fraction))
    return None
