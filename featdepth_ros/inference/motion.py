"""Motion from one frame to the next: standing gate, pose network, alignment on tracked points.

Whatever measures motion is a `MotionEstimator`: the estimator calls it once a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy, warp
from featdepth_ros.geometry.se3 import pose_matrix
from featdepth_ros.inference import validity
from featdepth_ros.inference.alignment import View, align
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.frame import EncodedFrame
from featdepth_ros.inference.networks import Networks
from featdepth_ros.inference.scale import ScaleEstimator
from featdepth_ros.inference.standing import StandingGate
from featdepth_ros.inference.types import Motion, MotionState, ScaleState

#: Standard deviations of a tracked motion: a share of its size (larger for the pose network alone) and a floor,
#: metres and radians.
_TRACKED_SHARE, _NETWORK_SHARE, _TRACKED_FLOOR_M, _TRACKED_FLOOR_RAD = 0.05, 0.2, 0.005, 0.0005
#: Of a standing camera.
_STANDING_M, _STANDING_RAD = 1e-4, 1e-5
#: Of a motion that was not measured: what a fast vehicle does in a second.
_UNKNOWN_M, _UNKNOWN_RAD = 30.0, 1.0


@dataclass(frozen=True, eq=False)
class MeasuredMotion:
    """What a `MotionEstimator` says of one frame.

    Attributes:
        motion: since the earlier frame, in the unit of the scale that was handed in.
        earlier: the frame it counts from; None unless ``motion`` is TRACKED.
    """

    motion: Motion
    earlier: EncodedFrame | None = None


class MotionEstimator(Protocol):
    """Measures the motion of one camera. One call a frame, in the order of arrival."""

    def update(self, frame: EncodedFrame, scale: ScaleState) -> MeasuredMotion:
        """Take the next frame and return the motion since the earlier one.

        Args:
            frame: with image, camera and depth at the networks' size, and the image at full size when asked for.
            scale: what one unit of the networks is worth.
        """

    def reset(self) -> None:
        """Forget all earlier frames: the next one is a first frame."""


class PoseNetwork:
    """The pose network as a measure of motion between any two encoded frames. It runs when it is asked, not before.

    Args:
        networks: hold the pose network.
        scale: gives the focal-length ratio.
    """

    def __init__(self, networks: Networks, scale: ScaleEstimator) -> None:
        self._networks = networks
        self._scale = scale

    def motion(self, earlier: EncodedFrame, later: EncodedFrame, scale: ScaleState) -> NDArray[np.float64]:
        """Return T_later_earlier (4, 4), its translation in the unit of ``scale``."""
        camera = later.rectified.camera
        axisangle, translation = self._networks.motion(
            earlier.observation, later.observation, camera, self._scale.ratio(camera)
        )
        moved = translation.double() * scale.factor
        return np.asarray(pose_matrix(axisangle.double()[None], moved[None])[0].numpy())


class NoMotion:
    """Stands in where no motion is to be had: no pose network, or none wanted."""

    def __init__(self) -> None:
        self._last_stamp_ns: int | None = None

    def update(self, frame: EncodedFrame, scale: ScaleState) -> MeasuredMotion:
        """Return an unavailable motion with the stamp difference to the frame before."""
        stamp_ns, last = frame.rectified.stamp_ns, self._last_stamp_ns
        self._last_stamp_ns = stamp_ns
        return MeasuredMotion(unmeasured(MotionState.UNAVAILABLE, 0 if last is None else stamp_ns - last))

    def reset(self) -> None:
        """Forget the stamp of the frame before."""
        self._last_stamp_ns = None


class FrameToFrameMotion:
    """Measures each motion between two frames alone; nothing older plays a part.

    Frames are paired by stamp, however many were dropped between them. A standing camera keeps its earlier frame, so
    that creeping motion is measured from where it began.

    Args:
        pose: gives the motion, or the first guess of the alignment.
        config: see `EstimatorConfig`.
        align_points: sharpen the pose network's answer on tracked points, see `inference.alignment`.
    """

    def __init__(self, pose: PoseNetwork, config: EstimatorConfig, *, align_points: bool) -> None:
        self._pose = pose
        self._config = config
        self._align_points = align_points
        self._gate = StandingGate()
        self.reset()

    def reset(self) -> None:
        """Forget the earlier frame."""
        self._gate.reset()
        self._earlier: EncodedFrame | None = None
        self._earlier_view: View | None = None
        self._last_stamp_ns: int | None = None

    def update(self, frame: EncodedFrame, scale: ScaleState) -> MeasuredMotion:
        """Take the next frame; see `MotionEstimator`."""
        stamp_ns, last, earlier = frame.rectified.stamp_ns, self._last_stamp_ns, self._earlier
        self._last_stamp_ns = stamp_ns
        paired = last is not None and earlier is not None and stamp_ns > last
        dt_ns = stamp_ns - last if paired and last is not None else 0
        too_late = dt_ns > self._config.max_gap_s * 1e9
        if not paired or too_late:
            self._gate.reset()
        if self._stands(frame):  # never after a reset of the gate
            standing = se3_numpy.twist_from([_STANDING_M**2] * 3, [_STANDING_RAD**2] * 3)
            return MeasuredMotion(Motion(MotionState.STANDING, np.eye(4), dt_ns, np.diag(standing)))
        earlier_view, view = self._earlier_view, self._view(frame, scale)
        self._earlier, self._earlier_view = frame, view
        if earlier is None or not paired or too_late:
            return MeasuredMotion(unmeasured(MotionState.GAP if too_late else MotionState.FIRST, dt_ns))
        T_later_earlier = self._pose.motion(earlier, frame, scale)
        camera = frame.rectified.camera
        if earlier_view is not None and view is not None and camera is not None:
            aligned = align(earlier_view, view, camera, T_later_earlier)
            if aligned is not None:
                return MeasuredMotion(tracked(aligned.T_later_earlier, dt_ns, scale, aligned.covariance), earlier)
        return MeasuredMotion(tracked(T_later_earlier, dt_ns, scale, None), earlier)

    def _stands(self, frame: EncodedFrame) -> bool:
        if not self._config.standing_gate:
            return False
        return self._gate.stands(frame.rectified.image[0].permute(1, 2, 0).cpu().numpy())

    def _view(self, frame: EncodedFrame, scale: ScaleState) -> View | None:
        """What alignment needs of a frame; None when it is not to be aligned."""
        rectified = frame.rectified
        if not self._align_points or rectified.camera is None:
            return None
        depth = scale.factor / warp.resize_bilinear(1.0 / frame.network_depth, *rectified.size)
        # Far points tell rotation, near ones translation: all that lie on one surface serve.
        trusted = validity.off_edges(depth) & rectified.in_image
        grey = rectified.image.mul(255.0).round().mean(dim=1).to(torch.uint8)
        return View(grey[0].cpu().numpy(), depth[0, 0].cpu().numpy(), trusted[0, 0].cpu().numpy())


def make_motion_estimator(networks: Networks, scale: ScaleEstimator, config: EstimatorConfig) -> MotionEstimator:
    """Return what measures motion under a configuration."""
    if not networks.has_pose or not config.estimate_motion:
        return NoMotion()
    automatic = config.motion == "auto" and networks.info.architecture == "compact"
    align_points = config.motion == "aligned" or automatic
    return FrameToFrameMotion(PoseNetwork(networks, scale), config, align_points=align_points)


def unmeasured(state: MotionState, dt_ns: int) -> Motion:
    """Return the motion of a frame for which none was measured: the identity, as uncertain as a fast vehicle."""
    variances = se3_numpy.twist_from([_UNKNOWN_M**2] * 3, [_UNKNOWN_RAD**2] * 3)
    return Motion(state, np.eye(4), dt_ns, np.diag(variances))


def tracked(
    T_later_earlier: NDArray[np.float64], dt_ns: int, scale: ScaleState, measured: NDArray[np.float64] | None
) -> Motion:
    """Return a measured motion: floor and share of its size, the scale's doubt, and what the residuals say.

    Args:
        T_later_earlier: (4, 4).
        dt_ns: stamp difference, nanoseconds.
        scale: whose variance every length carries.
        measured: (6, 6) covariance of (rotation, translation) from the residuals; None for the pose network alone.
    """
    T_previous_current = se3_numpy.inverse(T_later_earlier)
    distance = float(np.linalg.norm(T_previous_current[:3, 3]))
    angle = float(np.linalg.norm(se3_numpy.vector_from_rotation(T_previous_current[:3, :3])))
    share = _TRACKED_SHARE if measured is not None else _NETWORK_SHARE
    variance_m = (share * distance) ** 2 + _TRACKED_FLOOR_M**2 + scale.variance * distance**2
    variance_rad = (share * angle) ** 2 + _TRACKED_FLOOR_RAD**2
    covariance = np.diag(se3_numpy.twist_from([variance_m] * 3, [variance_rad] * 3))
    if measured is not None:
        # Of T_later_earlier, not of its inverse; between neighbouring frames the axes hardly differ.
        covariance += se3_numpy.covariance_from_rotation_first(measured)
    return Motion(MotionState.TRACKED, T_previous_current, dt_ns, covariance)
