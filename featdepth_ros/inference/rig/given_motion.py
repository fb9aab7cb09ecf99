"""Motion of a camera that comes from another camera of the same vehicle; its own window estimates points only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.frame import EncodedFrame
from featdepth_ros.inference.motion import MeasuredMotion, unmeasured
from featdepth_ros.inference.rig.path import MotionPath, PathPose
from featdepth_ros.inference.types import Motion, MotionState, ScaleState
from featdepth_ros.inference.window.types import WindowResult
from featdepth_ros.inference.window_motion import tracked_picture, window_config, window_is_available

Matrix = NDArray[np.float64]

#: Motion (sum of units and radians) below which the odometry camera counts as standing.
_NOTHING = 1e-9


@dataclass(frozen=True, eq=False)
class _Earlier:
    """The frame from which the next motion counts, its pose, and the newest stamp with that pose."""

    frame: EncodedFrame
    pose: PathPose
    stamp_ns: int


class GivenMotion:
    """Computes a camera's motion from the path of the odometry camera; see `MotionEstimator`.

    The points are in the unit of the path, so that all cameras of a vehicle have one scale. The pose of a frame is
    never changed, so that errors of the extrapolated path do not accumulate.

    Args:
        path: path of the odometry camera, whose frames are processed first.
        config: see `EstimatorConfig`. Without fused depth there is no window.
    """

    def __init__(self, path: MotionPath, config: EstimatorConfig) -> None:
        self._path = path
        self._config = config
        self._T_odometry_camera: Matrix | None = None
        self._earlier: _Earlier | None = None
        self._window = None
        if config.depth != "network" and config.motion != "network" and window_is_available():
            from featdepth_ros.inference.window.window import Window  # imported here: it compiles or loads the solver

            # The given motions define the scale, so the points are in their unit.
            self._window = Window(replace(window_config(config), scale="relative"))

    @property
    def has_points(self) -> bool:
        """Whether points are estimated, by which depth can be corrected."""
        return self._window is not None and self._T_odometry_camera is not None

    def mount(self, T_odometry_camera: Matrix | None, moves: bool) -> None:
        """Set the mounting of the camera, see `Rig.mount`."""
        old, new = self._T_odometry_camera, T_odometry_camera
        corrected = not moves and old is not None and new is not None and not np.allclose(old, new, atol=1e-9)
        if new is None or corrected:
            self.reset()
        self._T_odometry_camera = new

    def reset(self) -> None:
        """Forget all earlier frames."""
        self._earlier = None
        if self._window is not None:
            self._window.reset()

    def update(self, frame: EncodedFrame, scale: ScaleState) -> MeasuredMotion:
        """Take the next frame; see `MotionEstimator`."""
        stamp_ns, earlier = frame.rectified.stamp_ns, self._earlier
        dt_ns = 0 if earlier is None else max(stamp_ns - earlier.stamp_ns, 0)
        pose = self._pose(stamp_ns)
        if frame.rectified.camera is None or pose is None:
            self.reset()
            return MeasuredMotion(unmeasured(MotionState.UNAVAILABLE, dt_ns))
        too_late = dt_ns > self._config.max_gap_s * 1e9
        if earlier is None or stamp_ns <= earlier.stamp_ns or too_late or pose.stretch != earlier.pose.stretch:
            self.reset()
            self._earlier = _Earlier(frame, pose, stamp_ns)
            state = MotionState.GAP if too_late else MotionState.FIRST
            return MeasuredMotion(unmeasured(state, dt_ns), window=self._step(frame, scale, None))
        T = se3.inverse(earlier.pose.T_path_camera) @ pose.T_path_camera
        covariance = self._covariance(dt_ns)
        if np.abs(T - np.eye(4)).max() < _NOTHING:
            self._earlier = replace(earlier, stamp_ns=stamp_ns)
            return MeasuredMotion(Motion(MotionState.STANDING, np.eye(4), dt_ns, covariance))
        self._earlier = _Earlier(frame, pose, stamp_ns)
        motion = Motion(MotionState.TRACKED, T, dt_ns, covariance)
        return MeasuredMotion(motion, earlier.frame, self._step(frame, scale, T))

    def _pose(self, stamp_ns: int) -> PathPose | None:
        """Return the pose of this camera at a stamp, in the frame of the path; None if it is unknown."""
        if self._T_odometry_camera is None:
            return None
        pose = self._path.at(stamp_ns)
        return None if pose is None else PathPose(pose.stretch, pose.T_path_camera @ self._T_odometry_camera)

    def _covariance(self, dt_ns: int) -> Matrix:
        assert self._T_odometry_camera is not None
        turn = se3.adjoint(se3.inverse(self._T_odometry_camera))
        return np.asarray(turn @ self._path.covariance(dt_ns) @ turn.T)

    def _step(self, frame: EncodedFrame, scale: ScaleState, T_previous_current: Matrix | None) -> WindowResult | None:
        if self._window is None:
            return None

        def depth() -> NDArray[np.float32]:
            return np.asarray((frame.network_depth[0, 0] * scale.factor).cpu().numpy())

        grey, camera, seen = tracked_picture(frame)
        stamp_ns = frame.rectified.stamp_ns
        result = self._window.step(grey, camera, stamp_ns, depth, known_motion=T_previous_current, seen=seen)
        return replace(result, camera=camera)
