"""The path of one camera: its pose at any time, from its measured motions."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.types import Motion, MotionState

Matrix = NDArray[np.float64]

#: Number of kept poses. Other cameras need stamps that are a frame or two old.
KEPT = 64
#: Limits of the extrapolation at constant velocity: in intervals of the newest frame, and in nanoseconds.
INTERVALS_AHEAD, MOST_AHEAD_NS = 2.0, 300_000_000


@dataclass(frozen=True)
class PathPose:
    """A pose on the path.

    Attributes:
        stretch: number of the connected segment; only poses of the same segment are linked by measured motion.
        T_path_camera: (4, 4) pose, in the unit of the motions.
    """

    stretch: int
    T_path_camera: Matrix


class MotionPath:
    """Chains the motions of one camera, and returns its pose between and shortly after its frames.

    A frame without a measured motion begins a new segment, which is not connected to older poses.
    """

    def __init__(self) -> None:
        self._stretch = 0
        self._stamps: deque[int] = deque(maxlen=KEPT)
        self._poses: deque[Matrix] = deque(maxlen=KEPT)
        self._newest: Motion | None = None

    def append(self, stamp_ns: int, motion: Motion) -> None:
        """Add a frame and the motion since the previous one."""
        since_ns = stamp_ns - motion.dt_ns
        measured = motion.state in (MotionState.TRACKED, MotionState.STANDING) and motion.dt_ns > 0
        if not measured:
            self._begin(stamp_ns)
            return
        if not self._stamps or self._stamps[-1] != since_ns:  # the motion spans frames that showed nothing
            self._begin(since_ns)
        pose = self._poses[-1]
        if motion.state is MotionState.TRACKED:
            pose = se3.orthonormalised(pose @ motion.T_previous_current)
        self._newest = motion
        self._stamps.append(stamp_ns)
        self._poses.append(pose)

    def _begin(self, stamp_ns: int) -> None:
        self._stretch += 1
        self._stamps.clear()
        self._poses.clear()
        self._stamps.append(stamp_ns)
        self._poses.append(np.eye(4))
        self._newest = None

    def at(self, stamp_ns: int) -> PathPose | None:
        """Return the pose at a time, interpolated or extrapolated; None outside the path."""
        if not self._stamps or stamp_ns < self._stamps[0]:
            return None
        later = min(bisect_right(self._stamps, stamp_ns), len(self._stamps) - 1)
        if later == 0:
            return PathPose(self._stretch, self._poses[0]) if stamp_ns == self._stamps[0] else None
        start, end = self._stamps[later - 1], self._stamps[later]
        ahead_ns = stamp_ns - end
        if ahead_ns > min(INTERVALS_AHEAD * (end - start), MOST_AHEAD_NS):
            return None
        earlier, newer = self._poses[later - 1], self._poses[later]
        if newer is earlier:  # the camera stood, so the pose is exactly the same
            return PathPose(self._stretch, newer)
        twist = se3.log(se3.inverse(earlier) @ newer) * ((stamp_ns - start) / (end - start))
        return PathPose(self._stretch, np.asarray(earlier @ se3.exp(twist)))

    def covariance(self, dt_ns: int) -> Matrix:
        """Return the covariance (6, 6) of a motion over ``dt_ns``, scaled from the newest motion's; see `Motion`."""
        assert self._newest is not None, "the path has no motion yet"
        return np.asarray(self._newest.covariance * max(dt_ns / max(self._newest.dt_ns, 1), 1.0))
