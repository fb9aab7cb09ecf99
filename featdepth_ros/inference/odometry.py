"""Dead reckoning: chains the motions of one camera to the pose and twist of its vehicle. numpy only.

Axes are those of REP-103 and frames those of REP-105. `odom` is world-fixed with x forward at the start and z up. The
pose is continuous: a later change of scale affects only future increments. Time jumps and lost frames do not reset the
pose; only `reset` moves it to the origin.

While nothing is visible, the pose holds and its covariance grows. A motion that is measured across such a period, from
the last visible image, takes this growth back. If motion restarts (lost, gap), the growth stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.types import Estimate, Motion, MotionState

Matrix = NDArray[np.float64]

#: Variance of an unknown twist component, (m/s)^2 and (rad/s)^2. It is large but finite, because filters such as
#: robot_localization reject infinities and take zeros as certainty.
UNKNOWN_VARIANCE = 1e4
#: Least variance of a pose, m^2 and rad^2: it is never zero.
LEAST_VARIANCE = 1e-9

#: Correlations of motion errors, measured on rendered drives and KITTI (docs/results.md). This is the time constant in
#: seconds of the common scale error, since a network has another scale error in the next place.
SCALE_SECONDS = 100.0
#: Share of a motion's variance (without the scale) that is common to all motions. Residual distortion, and points with
#: long tracks, cause the same error in each of them.
COMMON_SHARE = 0.03
#: Standard deviation of the direction of the camera's axes, radians: mounting, and the principal point.
AXES_RAD = 0.005


@dataclass(frozen=True)
class OdometryState:
    """Pose and twist after one frame.

    Attributes:
        stamp_ns: stamp of the image.
        T_odom_base: (4, 4) pose of the base in `odom`; metres or model units.
        linear, angular: (3,) twist of the base in its own axes, m/s (or units/s) and rad/s.
        pose_covariance: (6, 6) of (x y z, rotation about the fixed x y z axes of `odom`).
        twist_covariance: (6, 6) in the base's axes, including the uncertainty of the camera's axes on the base.
    """

    stamp_ns: int
    T_odom_base: Matrix
    linear: Matrix
    angular: Matrix
    pose_covariance: Matrix
    twist_covariance: Matrix


class Odometry:
    """Chains the motions of estimates.

    Args:
        T_base_camera: (4, 4) pose of the camera's optical frame in the base frame. None: the camera is the base; the
            pose in `odom` then starts with the optical rotation, so that `odom` keeps REP-103 axes.

    Raises:
        CalibrationError: ``T_base_camera`` is not a rigid transform.
    """

    def __init__(self, T_base_camera: Matrix | None = None) -> None:
        if T_base_camera is not None:
            rotation = np.asarray(T_base_camera, dtype=np.float64)[:3, :3]
            if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4) or np.linalg.det(rotation) < 0:
                raise CalibrationError(
                    "the transform from base to camera is not rigid (its rotation part is not a rotation); "
                    "check the extrinsics on /tf_static"
                )
        self._T_base_camera = np.eye(4) if T_base_camera is None else np.asarray(T_base_camera, dtype=np.float64)
        self._T_camera_base = se3.inverse(self._T_base_camera)
        self._adjoint = se3.adjoint(self._T_base_camera)
        self._uncertainty = PoseUncertainty(self._adjoint)
        self._start = se3.T_BODY_OPTICAL if T_base_camera is None else np.eye(4)
        self.reset()

    def reset(self) -> None:
        """Move the base to the origin of `odom`, with the smallest covariance."""
        self._T_odom_base = self._start.copy()
        self._uncertainty.reset()

    @property
    def pose(self) -> Matrix:
        """(4, 4) pose of the base in `odom`."""
        return self._T_odom_base.copy()

    def update(self, estimate: Estimate) -> OdometryState:
        """Append the motion of one frame and return the new state.

        First frames, gaps and frames without motion hold the pose and report a twist of unknown size; a standing
        camera reports zero with small covariance.
        """
        motion = estimate.motion
        known = motion.state in (MotionState.TRACKED, MotionState.STANDING) and motion.dt_ns > 0
        linear = angular = np.zeros(3)
        twist_covariance = np.eye(6) * UNKNOWN_VARIANCE
        if known:
            self._uncertainty.go_back_to(estimate.stamp_ns - motion.dt_ns)
            seconds = motion.dt_ns * 1e-9
            step = self._T_base_camera @ motion.T_previous_current @ self._T_camera_base
            # By the logarithm of SE(3), a car in a steady curve has the speed along the arc and not along the chord.
            twist = se3.log(step) / seconds
            linear, angular = twist[se3.TRANSLATION], twist[se3.ROTATION]
            twist_covariance = self._adjoint @ covariance_in_base(motion) @ self._adjoint.T / seconds**2
            self._append(step, motion)
        elif motion.state is not MotionState.FIRST:
            self._append(np.eye(4), motion)
        if known or motion.state is MotionState.FIRST:
            self._uncertainty.keep(estimate.stamp_ns)
        return OdometryState(
            stamp_ns=estimate.stamp_ns,
            T_odom_base=self._T_odom_base.copy(),
            linear=linear,
            angular=angular,
            pose_covariance=self._uncertainty.covariance,
            twist_covariance=twist_covariance,
        )

    def _append(self, step: Matrix, motion: Motion) -> None:
        self._uncertainty.append(self._T_odom_base[:3, :3], step, motion)
        self._T_odom_base = se3.orthonormalised(self._T_odom_base @ step)


#: Places in the state of `PoseUncertainty`.
_POSE, _SCALE, _COMMON, _AXES, _SIZE = slice(0, 6), 6, slice(7, 13), slice(13, 16), 16


class PoseUncertainty:
    """Covariance of the pose from accumulated motions, to first order.

    Errors of successive motions are alike. One scale multiplies all of them. The axes of the camera are off by one
    angle. A share of the rest is the same in every motion. So they add up, where independent ones would average out.
    The state is augmented by what they have in common. That is the error of the log scale, six standardised errors of
    motion, and three angles of the axes. Source: Bar-Shalom, Li and Kirubarajan, Estimation with Applications to
    Tracking and Navigation, 2001, chapter 8.

    Args:
        adjoint: (6, 6) that takes a twist in the camera's axes to the base's.
    """

    def __init__(self, adjoint: Matrix) -> None:
        self._adjoint = adjoint
        self.reset()

    def reset(self) -> None:
        """Set the covariance of the pose to its minimum, and that of the common errors to their prior."""
        self._P = np.zeros((_SIZE, _SIZE))
        self._P[_POSE, _POSE] = np.eye(6) * LEAST_VARIANCE
        self._P[_COMMON, _COMMON] = np.eye(6)
        self._P[_AXES, _AXES] = np.eye(3) * AXES_RAD**2
        self._kept: tuple[int, Matrix] | None = None

    @property
    def covariance(self) -> Matrix:
        """(6, 6) of (x y z, rotation about the fixed x y z axes of `odom`)."""
        return np.array(self._P[_POSE, _POSE])

    def keep(self, stamp_ns: int) -> None:
        """Store the covariance at this stamp, to which a known motion leads."""
        self._kept = stamp_ns, self._P.copy()

    def go_back_to(self, stamp_ns: int) -> None:
        """Restore the covariance of this stamp, if it is the stored one and the next motion counts from there."""
        if self._kept is not None and self._kept[0] == stamp_ns:
            self._P = self._kept[1].copy()

    def append(self, rotation: Matrix, step: Matrix, motion: Motion) -> None:
        """Propagate the covariance by one motion; see `transition`."""
        F, Q = self.transition(rotation, step, motion)
        self._P = F @ self._P @ F.T + Q

    def transition(self, rotation: Matrix, step: Matrix, motion: Motion) -> tuple[Matrix, Matrix]:
        """Return the transition matrix F (16, 16) and the noise Q (16, 16) of the error state for one step.

        Args:
            rotation: (3, 3) rotation of the pose before the step.
            step: (4, 4) motion of the base.
            motion: motion of the camera from which ``step`` was computed.
        """
        turn = se3.adjoint(se3.make(rotation, np.zeros(3)))
        to_odom = turn @ self._adjoint
        F, Q = np.eye(_SIZE), np.zeros((_SIZE, _SIZE))
        # An error of the heading rotates the appended step, which moves the end of the path sideways.
        F[se3.TRANSLATION, se3.ROTATION] = -se3.hat(rotation @ step[:3, 3])
        own = motion.covariance
        if motion.state is MotionState.TRACKED:
            along, own = _without_scale(motion)
            F[_POSE, _COMMON] = math.sqrt(COMMON_SHARE) * to_odom @ _root(own)
            own = (1 - COMMON_SHARE) * own
            F[_POSE, _AXES] = to_odom @ _turned_axes(motion.T_previous_current)
            kept, added = self._scale_now(motion.scale_log_variance, motion.dt_ns * 1e-9)
            moves = np.append(to_odom @ along, 1.0)  # of the pose and of the scale itself, by an error of the log scale
            with_scale = [*range(6), _SCALE]
            F[with_scale, _SCALE] = kept * moves
            Q[np.ix_(with_scale, with_scale)] = added * np.outer(moves, moves)
        Q[_POSE, _POSE] += to_odom @ own @ to_odom.T
        return F, Q

    def _scale_now(self, variance: float, seconds: float) -> tuple[float, float]:
        """Return what is kept of the error of the log scale, and the variance that is added, to give it this variance.

        Less than before: it was measured, and the error of a filter's answer has the new variance in common with the
        earlier error. More: it has wandered. Beside that it forgets.
        """
        before = float(self._P[_SCALE, _SCALE])
        kept = min(1.0, variance / before) if before > 0 else 0.0
        kept *= math.exp(-seconds / SCALE_SECONDS)
        return kept, variance - kept**2 * before


def _without_scale(motion: Motion) -> tuple[Matrix, Matrix]:
    """Return the derivative (6,) of the motion by the log scale, and the covariance (6, 6) without the scale error."""
    along = np.zeros(6)
    along[se3.TRANSLATION] = motion.T_previous_current[:3, 3]
    variance = motion.scale_log_variance
    if variance <= 0:
        return along, motion.covariance
    # The scale part is limited, so that the remaining matrix stays a covariance.
    most = 1.0 / max(float(along @ np.linalg.solve(motion.covariance, along)), 1e-12)
    shared = min(variance, 0.999 * most)
    return along * math.sqrt(shared / variance), motion.covariance - shared * np.outer(along, along)


def _root(covariance: Matrix) -> Matrix:
    """Return the symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def covariance_in_base(motion: Motion) -> Matrix:
    """Return the covariance (6, 6) of a motion plus the uncertainty `AXES_RAD` of the camera's axes."""
    turned = AXES_RAD * _turned_axes(motion.T_previous_current)
    return np.asarray(motion.covariance + turned @ turned.T)


def _turned_axes(motion: Matrix) -> Matrix:
    """Return the derivative (6, 3) of a measured motion (4, 4) by a small rotation of the camera's axes on the base."""
    change = np.zeros((6, 3))
    change[se3.TRANSLATION] = -se3.hat(motion[:3, 3])
    change[se3.ROTATION] = -se3.hat(se3.vector_from_rotation(motion[:3, :3]))
    return change
