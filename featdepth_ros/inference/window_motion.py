"""Motion estimation with the window of keyframes, and the choice of the motion estimator."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import MissingDependencyError
from featdepth_ros.geometry import se3_numpy
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.frame import EncodedFrame
from featdepth_ros.inference.motion import (
    NETWORK_SHARE,
    MeasuredMotion,
    MotionEstimator,
    NetworkMotion,
    NoMotion,
    PairedMotion,
    PoseNetwork,
    network_motion,
    unmeasured,
)
from featdepth_ros.inference.networks import Networks
from featdepth_ros.inference.scale import ScaleEstimator
from featdepth_ros.inference.sensing.sensors import MotionSensors
from featdepth_ros.inference.types import Motion, MotionState, ScaleState
from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.types import ScaleOrigin, WindowResult, WindowState

if TYPE_CHECKING:
    from featdepth_ros.inference.window.frame import Frame

#: Number of columns above which images are halved before tracking; more columns cost more and add little accuracy.
MOST_COLUMNS = 1300
#: Largest depth of a network that initialises points, metres.
_FARTHEST_START = 70.0

#: Prediction error of corners, three standard deviations, above which the image contradicts the pose network's motion.
_CONTRADICTED_SHARE = 3 * NETWORK_SHARE

#: Rotation (3, 3) of T_previous_current by a gyroscope, and its covariance (3, 3), rad^2.
GyroRotation = tuple[NDArray[np.float64], NDArray[np.float64]] | None


class WindowMotion(PairedMotion):
    """Motion and points from a window of keyframes; without a calibration the pose network's motion.

    Args:
        pose: the pose network, which is used if tracking fails; None: there is none.
        config: see `EstimatorConfig`.
        inverse: whether the networks predict an inverse depth up to a scale and a shift. The frames have its
            reciprocal.
        sensors: other sensors of motion; they may be set later.

    Raises:
        MissingDependencyError: numba is not installed.
    """

    def __init__(
        self, pose: PoseNetwork | None, config: EstimatorConfig, sensors: MotionSensors, inverse: bool = False
    ) -> None:
        from featdepth_ros.inference.window.window import Window  # compiles or loads the solver: seconds, once

        self._pose, self._sensors = pose, sensors
        self._uncalibrated: MotionEstimator = NetworkMotion(pose, config) if pose is not None else NoMotion()
        self._inverse = inverse
        self._window = Window(window_config(config, inverse))
        super().__init__(config)

    def reset(self) -> None:
        """Forget all earlier frames."""
        super().reset()
        self._window.reset()
        self._uncalibrated.reset()

    def update(self, frame: EncodedFrame, scale: ScaleState) -> MeasuredMotion:
        """Take the next frame; see `MotionEstimator`."""
        if frame.rectified.camera is None:
            return self._uncalibrated.update(frame, scale)
        measured = super().update(frame, scale)
        if measured.motion.state is MotionState.STANDING:
            stamp_ns = frame.rectified.stamp_ns
            self._learn(frame, stamp_ns - measured.motion.dt_ns, measured.motion)
        return measured

    def _begin(self, frame: EncodedFrame, scale: ScaleState) -> WindowResult | None:
        self._window.reset()
        return self._step(frame, scale, None)

    def _measure(self, earlier: EncodedFrame, frame: EncodedFrame, dt_ns: int, scale: ScaleState) -> MeasuredMotion:
        result = self._step(frame, scale, earlier)
        if result.state in (WindowState.FIRST, WindowState.STARTING):
            return MeasuredMotion(unmeasured(MotionState.FIRST, dt_ns), window=result)
        if result.state is WindowState.LOST:
            return MeasuredMotion(unmeasured(MotionState.LOST, dt_ns), window=result)
        common = scale.variance if result.state is WindowState.NETWORK else result.scale_log_variance
        motion = Motion(
            MotionState.TRACKED, result.T_previous_current, dt_ns, result.covariance, scale_log_variance=common
        )
        if result.state is WindowState.TRACKED:
            self._learn(frame, earlier.rectified.stamp_ns, motion)
        return MeasuredMotion(motion, earlier, result)

    def _step(self, frame: EncodedFrame, scale: ScaleState, earlier: EncodedFrame | None) -> WindowResult:
        def depth() -> NDArray[np.float32]:
            depth = np.asarray(frame.host_depth * np.float32(scale.factor))
            return np.asarray(1.0 / depth, dtype=np.float32) if self._inverse else depth

        def by_network() -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
            if self._pose is None or earlier is None:
                return None
            motion = network_motion(self._pose.motion(earlier, frame, scale), 0, scale)
            return motion.T_previous_current, motion.covariance

        grey, camera, seen = tracked_picture(frame)
        gyro, speed = (None, None) if earlier is None else self._sensed(earlier, frame)
        result = self._window.step(
            grey, camera, frame.rectified.stamp_ns, depth, None, by_network, gyro_rotation=gyro, speed=speed, seen=seen
        )
        return _as_sure_as(scale, result)

    def _sensed(self, earlier: EncodedFrame, frame: EncodedFrame) -> tuple[GyroRotation, tuple[float, float] | None]:
        """Return rotation and speed by the sensors; each is None without the sensor or without readings."""
        span = (earlier.rectified.stamp_ns, frame.rectified.stamp_ns)
        gyroscope, speedometer = self._sensors.gyroscope, self._sensors.speedometer
        turned = None if gyroscope is None else gyroscope.between(*span)
        if turned is not None:
            axes = frame.rectified.views.rotation
            turned = (axes @ turned[0] @ axes.T, axes @ turned[1] @ axes.T)
        moved = None
        if speedometer is not None and self._config.scale == "speed":
            moved = speedometer.between(*span)
        return turned, moved

    def _learn(self, frame: EncodedFrame, earlier_ns: int, motion: Motion) -> None:
        """Update the gyroscope's bias with a rotation that was measured from images."""
        if self._sensors.gyroscope is None:
            return
        axes, part = frame.rectified.views.rotation, se3_numpy.ROTATION
        rotation, covariance = motion.T_previous_current[:3, :3], motion.covariance[part, part]
        self._sensors.gyroscope.learn(
            earlier_ns, frame.rectified.stamp_ns, axes.T @ rotation @ axes, axes.T @ covariance @ axes
        )


def _as_sure_as(scale: ScaleState, result: WindowResult) -> WindowResult:
    """Return the result with at least the network's scale variance, if its scale comes from the network."""
    more = scale.variance - result.scale_log_variance
    if result.scale_origin is not ScaleOrigin.NETWORK or result.state is not WindowState.TRACKED or more <= 0:
        return result
    moved, covariance = result.T_previous_current[:3, 3], result.covariance.copy()
    part = se3_numpy.TRANSLATION
    covariance[part, part] += more * np.outer(moved, moved)
    return replace(result, covariance=covariance, scale_log_variance=scale.variance)


class PictureTest:
    """Checks the pose network's motion against the image, with `explains`. It needs a calibration and numba.

    Args:
        config: see `EstimatorConfig`.

    Raises:
        MissingDependencyError: numba is not installed.
    """

    def __init__(self, config: EstimatorConfig) -> None:
        from featdepth_ros.inference.window import frame
        from featdepth_ros.inference.window.two_views import fallback

        self._make_frame, self._fallback = frame.Frame, fallback
        self._config = window_config(config)
        self._known: list[tuple[EncodedFrame, Frame]] = []
        self._corners: tuple[Frame, NDArray[np.float64]] | None = None

    def prepare(self, earlier: EncodedFrame, later: EncodedFrame, scale: ScaleState) -> None:
        """Detect the corners of the earlier image and compute the later one's pyramid, in parallel to the networks."""
        if later.rectified.camera is None:
            return
        self._known = [(frame, self._seen(frame, scale)) for frame in (earlier, later)]
        before = self._known[0][1]
        if self._corners is None or self._corners[0] is not before:
            self._corners = before, self._fallback.corners_on_trial(before)

    def __call__(
        self, T_previous_current: NDArray[np.float64], earlier: EncodedFrame, later: EncodedFrame, scale: ScaleState
    ) -> bool:
        """Return whether a motion (4, 4) agrees with the later image; True if there are too few corners."""
        if later.rectified.camera is None:
            return True
        self.prepare(earlier, later, scale)
        assert self._corners is not None
        (_, before), (_, after) = self._known
        start, share = self._corners[1], _CONTRADICTED_SHARE
        return self._fallback.explains(T_previous_current, before, after, self._config, share, True, start)

    def _seen(self, frame: EncodedFrame, scale: ScaleState) -> Frame:
        for known, made in self._known:
            if known is frame:
                return made
        grey, camera, seen = tracked_picture(frame)

        def depth() -> NDArray[np.float32]:
            return np.asarray(frame.host_depth * np.float32(scale.factor))

        return self._make_frame(grey, camera, frame.rectified.stamp_ns, depth, seen=seen)


def tracked_picture(frame: EncodedFrame) -> tuple[NDArray[np.uint8], CameraModel, NDArray[np.bool_] | None]:
    """Return the image in which the window tracks points.

    Returns:
        The (H, W) uint8 grey image, its camera, and the (H, W) bool mask of pixels with image content; None stands for
        all pixels.
    """
    camera, seen = frame.rectified.full_camera, frame.rectified.views.full_seen
    assert camera is not None
    grey = cv2.cvtColor(frame.rectified.full_image, cv2.COLOR_RGB2GRAY)
    while grey.shape[1] > MOST_COLUMNS:
        width, height = (grey.shape[1] + 1) // 2, (grey.shape[0] + 1) // 2
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        camera = camera.resized(width, height)
    if seen is not None and seen.shape != grey.shape:
        seen = cv2.resize(seen.astype(np.float32), grey.shape[::-1], interpolation=cv2.INTER_AREA) > 1 - 1e-6
    return np.asarray(grey, dtype=np.uint8), camera, seen


def window_config(config: EstimatorConfig, inverse: bool = False) -> WindowConfig:
    """Return the window's settings for an estimator's configuration; for ``inverse`` see `WindowMotion`."""
    source = {"camera_height": "camera_height", "relative": "relative"}.get(config.scale, "network")
    if inverse:
        source = "relative"
    return WindowConfig(
        prior="scale_and_shift" if inverse else "scale",
        scale=source,  # type: ignore[arg-type]
        camera_height_m=config.camera_height_m,
        rolling_shutter_s=config.rolling_shutter_s,
        min_depth=config.min_depth,
        max_depth=max(min(config.max_depth, _FARTHEST_START), 2 * config.min_depth),
    )


def window_is_available() -> bool:
    """Return whether the window can run here: numba, which compiles its loops, must be installed and load."""
    try:
        import featdepth_ros.inference.window.compiled._jit  # noqa: F401
    except MissingDependencyError:
        return False
    return True


def fallback_note(config: EstimatorConfig) -> str:
    """Return a note on what ``auto`` leaves out under a configuration because numba is missing, or an empty string."""
    if not config.estimate_motion or config.motion != "auto" or window_is_available():
        return ""
    return (
        "numba is not installed or does not load, so the window of frames is off: motion comes only from the pose "
        "network, and depth only from the depth network; install numba (pip install numba), or set motion to 'network'"
    )


def make_motion_estimator(
    networks: Networks, scale: ScaleEstimator, config: EstimatorConfig, sensors: MotionSensors
) -> MotionEstimator:
    """Return the motion estimator for a configuration.

    Raises:
        MissingDependencyError: the configuration needs the window, and numba is not installed.
    """
    if not config.estimate_motion:
        return NoMotion()
    pose = PoseNetwork(networks, scale) if networks.has_pose else None
    available = config.motion != "network" and window_is_available()
    for asked, name in (
        (config.motion == "window", "motion 'window'"),
        (config.depth == "fused", "depth 'fused'"),
        (config.scale == "speed", "scale 'speed'"),
    ):
        if asked and not available:
            raise MissingDependencyError(f"{name} needs numba, which is not installed; install it: pip install numba")
    if available:
        return WindowMotion(pose, config, sensors, networks.gives_inverse_depth)
    if pose is None:
        return NoMotion()
    return NetworkMotion(pose, config, PictureTest(config) if window_is_available() else None)
