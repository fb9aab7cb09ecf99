"""The frame whose motion is reported: choice of the base, mounting of the camera on it, and its pose in odom."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.odometry import OdometryState
from featdepth_ros.inference.types import Estimate, Motion, MotionState
from featdepth_ros.ros.frames.tree import Extrinsics, FrameTree, Matrix
from featdepth_ros.ros.loading import LoadedModel, OdometryLike
from featdepth_ros.ros.parameters.settings import Settings


@dataclass(frozen=True)
class GivenPose:
    """A pose of the base that a user has set.

    Attributes:
        T_odom_base: (4, 4) pose of the base in odom, metres.
        covariance: (6, 6) covariance of position and rotation about odom's axes, m^2 and rad^2.
    """

    T_odom_base: Matrix
    covariance: Matrix


class BaseFrame:
    """Chooses the frame whose motion is reported, and integrates its motion.

    Fixed mountings may arrive late or be corrected; the pose then continues from its current value. A moving mounting
    is read at the image's stamp. While it is unknown, motion is accumulated and `missing` says why none is reported.

    Attributes:
        extrinsics: mounting in use; None while undecided.
        missing: why no motion is reported; empty while it is.
        starts: number of restarts of the pose: the first start, resets, given poses, changes of the base.
    """

    def __init__(self, loaded: LoadedModel, tree: FrameTree, log: Callable[[str], None]) -> None:
        self._loaded = loaded
        self._tree = tree
        self._log = log
        self._odometry: OdometryLike | None = None
        self._waiting_since = time.monotonic()
        self._camera_frame = ""
        self._reference = self._mount = np.eye(4)
        self._gathered: Motion | None = None
        self._asked: GivenPose | None = None
        self._given: GivenPose | None = None
        self.extrinsics: Extrinsics | None = None
        self.missing = ""
        self.starts = 0

    def reset(self) -> None:
        """Restart the pose at the identity."""
        self._given = self._asked = None
        if self._odometry is not None:
            self._odometry.reset()
        self.starts += 1

    def set_pose(self, pose: GivenPose) -> None:
        """Continue from this pose of the base with the next frame. Any thread may call this."""
        self._asked = pose

    def update(self, estimate: Estimate, camera_frame: str, settings: Settings) -> OdometryState | None:
        """Add the motion of a frame and return the state of the base.

        Returns:
            None while extrinsics may still arrive, or while a moving transform is unknown.
        """
        if camera_frame != self._camera_frame:
            self._camera_frame, self._odometry, self.extrinsics = camera_frame, None, None
            self._waiting_since = time.monotonic()
        extrinsics = self._tree.extrinsics(camera_frame, settings.base_frame, settings.odom_frame, estimate.stamp_ns)
        complete = extrinsics is not None and extrinsics.base == settings.base_frame
        waited_s = time.monotonic() - self._waiting_since
        if self.extrinsics is None and not complete and waited_s < settings.extrinsics_timeout_s:
            return None
        chosen = extrinsics or Extrinsics(camera_frame, None)
        motion = estimate.motion if self._gathered is None else _chained(self._gathered, estimate.motion)
        if chosen.missing:
            if chosen.missing.split("(")[0] != self.missing.split("(")[0]:
                self._log(chosen.missing)
            self._gathered, self.missing = motion, chosen.missing
            return None
        self._gathered, self.missing = None, ""
        if self.extrinsics is None or self.extrinsics.base != chosen.base or self._odometry is None:
            self._begin(chosen, complete, settings)
        moved = self._mounted(motion, chosen)
        return self._placed(self._integrate(replace(estimate, motion=moved)), chosen)

    def _begin(self, chosen: Extrinsics, complete: bool, settings: Settings) -> None:
        if complete:
            moving = f"; {', '.join(chosen.moving)} moves on /tf and is read at each image's stamp"
            self._log(f"extrinsics: {chosen.base} <- {self._camera_frame}{moving if chosen.moving else ''}")
        else:
            self._log(
                f"no transform {settings.base_frame} <- {self._camera_frame} on /tf_static: odometry is reported for "
                f"'{chosen.base}'. Publish the camera's mounting (static_transform_publisher) or set base_frame."
            )
        if self.extrinsics is not None:
            self._log(f"the base changes from {self.extrinsics.base} to {chosen.base}: odometry restarts")
        self._odometry = self._loaded.new_odometry(chosen.T_base_camera)
        self._reference = self._mount = np.eye(4) if chosen.T_base_camera is None else chosen.T_base_camera
        self._given = None
        self.starts += 1
        self.extrinsics = chosen

    def _mounted(self, motion: Motion, chosen: Extrinsics) -> Motion:
        """Return the motion that a camera with the first mounting would have, for the same motion of the base."""
        now = np.eye(4) if chosen.T_base_camera is None else chosen.T_base_camera
        before = self._mount if chosen.moving else now  # a correction of a fixed mounting is no motion of the camera
        if not chosen.moving and not np.allclose(now, self._mount, atol=1e-9):
            self._log(f"the mounting of {self._camera_frame} on {chosen.base} was corrected; the new one is used now")
        self._mount, self.extrinsics = now, chosen
        if motion.state is not MotionState.TRACKED and not (chosen.moving and motion.state is MotionState.STANDING):
            return motion
        if np.array_equal(before, self._reference) and np.array_equal(now, self._reference):
            return motion
        out = se3.inverse(self._reference)
        turn = se3.adjoint(out @ before)
        return replace(
            motion,
            T_previous_current=out @ before @ motion.T_previous_current @ se3.inverse(now) @ self._reference,
            covariance=turn @ motion.covariance @ turn.T,
        )

    def _integrate(self, estimate: Estimate) -> OdometryState:
        assert self._odometry is not None
        if self._asked is not None:
            self._given, self._asked = self._asked, None
            self._odometry.reset()
            self.starts += 1
        return self._odometry.update(estimate)

    def _placed(self, state: OdometryState, chosen: Extrinsics) -> OdometryState:
        """Return the state relative to the pose that a user has set, if there is one."""
        if self._given is None:
            return state
        start = se3.T_BODY_OPTICAL if chosen.T_base_camera is None else np.eye(4)
        T_odom_start = self._given.T_odom_base @ se3.inverse(start)
        pose = T_odom_start @ state.T_odom_base
        turn = se3.adjoint(se3.make(T_odom_start[:3, :3], np.zeros(3)))
        lever = np.eye(6)  # an error of the given heading rotates the path since then
        lever[se3.TRANSLATION, se3.ROTATION] = -se3.hat(pose[:3, 3] - self._given.T_odom_base[:3, 3])
        covariance = lever @ self._given.covariance @ lever.T + turn @ state.pose_covariance @ turn.T
        return replace(state, T_odom_base=pose, pose_covariance=covariance)


def _chained(first: Motion, then: Motion) -> Motion:
    """Return two consecutive motions as one; it is unknown if either of them is."""
    known = (MotionState.TRACKED, MotionState.STANDING)
    if then.state is MotionState.FIRST or (first.state is MotionState.FIRST and then.state in known):
        return then
    if first.state not in known:
        return replace(first, dt_ns=first.dt_ns + then.dt_ns, covariance=first.covariance + then.covariance)
    if then.state not in known:
        return replace(then, dt_ns=first.dt_ns + then.dt_ns, covariance=first.covariance + then.covariance)
    turn = se3.adjoint(first.T_previous_current)
    state = MotionState.TRACKED if MotionState.TRACKED in (first.state, then.state) else MotionState.STANDING
    return Motion(
        state,
        first.T_previous_current @ then.T_previous_current,
        first.dt_ns + then.dt_ns,
        first.covariance + turn @ then.covariance @ turn.T,
        scale_log_variance=max(first.scale_log_variance, then.scale_log_variance),
    )
