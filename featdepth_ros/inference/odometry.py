"""Dead reckoning: motions of one camera chained into the pose and twist of its vehicle. numpy only.

REP-103 axes, REP-105 frames: `odom` is world-fixed with x forward at the start and z up; the pose is continuous, a
later change of scale touches future increments only. The pose outlives time jumps and lost frames; only `reset` moves
it back to the origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.types import Estimate, MotionState

Matrix = NDArray[np.float64]

#: Variance put on a twist component about which nothing is known, (m/s)^2 and (rad/s)^2. Large, yet finite: filters
#: such as robot_localization reject infinities and take zeros as certainty.
UNKNOWN_VARIANCE = 1e4


@dataclass(frozen=True)
class OdometryState:
    """Pose and twist after one frame.

    Attributes:
        stamp_ns: stamp of the image.
        T_odom_base: (4, 4) pose of the base in `odom`; metres or model units.
        linear, angular: (3,) twist of the base in its own axes, m/s (or units/s) and rad/s.
        pose_covariance: (6, 6) of (x y z, rotation about the fixed x y z axes of `odom`).
        twist_covariance: (6, 6) in the base's axes.
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
        self._start = se3.T_BODY_OPTICAL if T_base_camera is None else np.eye(4)
        self.reset()

    def reset(self) -> None:
        """Put the base back to the origin of `odom`, with no uncertainty beyond a floor."""
        self._T_odom_base = self._start.copy()
        self._covariance = np.eye(6) * 1e-9

    def update(self, estimate: Estimate) -> OdometryState:
        """Append the motion of one frame.

        First frames, gaps and frames without motion hold the pose and report a twist of unknown size; a standing
        camera reports zero with small covariance.
        """
        motion = estimate.motion
        known = motion.state in (MotionState.TRACKED, MotionState.STANDING) and motion.dt_ns > 0
        covariance = self._adjoint @ motion.covariance @ self._adjoint.T
        linear = angular = np.zeros(3)
        twist_covariance = np.eye(6) * UNKNOWN_VARIANCE
        if known:
            seconds = motion.dt_ns * 1e-9
            step = self._T_base_camera @ motion.T_previous_current @ self._T_camera_base
            # The logarithm of SE(3): a car in a steady curve reports its speed along the arc, not along the chord.
            twist = se3.log(step) / seconds
            linear, angular = twist[se3.TRANSLATION], twist[se3.ROTATION]
            twist_covariance = covariance / seconds**2
            self._append(step, covariance)
        elif motion.state is not MotionState.FIRST:
            self._append(np.eye(4), covariance)
        return OdometryState(
            stamp_ns=estimate.stamp_ns,
            T_odom_base=self._T_odom_base.copy(),
            linear=linear,
            angular=angular,
            pose_covariance=self._covariance.copy(),
            twist_covariance=twist_covariance,
        )

    def _append(self, step: Matrix, covariance: Matrix) -> None:
        rotation = self._T_odom_base[:3, :3]
        # An error of the heading so far turns the step that is appended: it moves the end of the path sideways.
        lever = np.eye(6)
        lever[se3.TRANSLATION, se3.ROTATION] = -se3.hat(rotation @ step[:3, 3])
        turn = se3.adjoint(se3.make(rotation, np.zeros(3)))
        self._covariance = lever @ self._covariance @ lever.T + turn @ covariance @ turn.T
        self._T_odom_base = se3.orthonormalised(self._T_odom_base @ step)
