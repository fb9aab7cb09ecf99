"""Motion between consecutive frames: interface, standing gate and pose network.

The estimator calls a `MotionEstimator` once per frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy
from featdepth_ros.geometry.se3 import pose_matrix
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.frame import EncodedFrame
from featdepth_ros.inference.gates.standing import StandingGate
from featdepth_ros.inference.networks import Networks
from featdepth_ros.inference.scale import ScaleEstimator
from featdepth_ros.inference.types import Motion, MotionState, ScaleState
from featdepth_ros.inference.window.types import WindowResult

#: Standard deviations of the pose network's motion: a share of its size, and a floor, metres and radians.
NETWORK_SHARE, _NETWORK_FLOOR_M, _NETWORK_FLOOR_RAD = 0.2, 0.005, 0.0005
#: Standard deviations of the motion of a standing camera, metres and radians.
_STANDING_M, _STANDING_RAD = 1e-4, 1e-5
#: Standard deviations of an unmeasured motion, metres and radians: the motion of a fast vehicle in a second.
_UNKNOWN_M, _UNKNOWN_RAD = 30.0, 1.0


@dataclass(frozen=True, eq=False)
class MeasuredMotion:
    """Result of a `MotionEstimator` for one frame.

    Attributes:
        motion: motion since the earlier frame, in the unit of the given scale.
        earlier: frame from which the motion counts; None unless ``motion`` is TRACKED.
        window: result of the window for this frame; None if no window ran.
    """

    motion: Motion
    earlier: EncodedFrame | None = None
    window: WindowResult | None = None


class MotionEstimator(Protocol):
    """Measures the motion of one camera. It is called once per frame, in the order of arrival."""

    def update(self, frame: EncodedFrame, scale: ScaleState) -> MeasuredMotion:
        """Process the next frame and return the motion since the earlier one.

        Args:
            frame: frame with image, camera and depth at the networks' size, and the image at full size on demand.
            scale: published units per network unit.
        """

    def reset(self) -> None:
        """Forget all earlier frames: the next one is a first frame."""


class PoseNetwork:
    """Measures the motion between any two encoded frames with the pose network, which runs on demand.

    Args:
        networks: networks with a pose network.
        scale: provides the focal-length ratio.
    """

    def __init__(self, networks: Networks, scale: ScaleEstimator) -> None:
        self._networks = networks
        self._scale = scale

    def motion(self, earlier: EncodedFrame, later: EncodedFrame, scale: ScaleState) -> NDArray[np.float64]:
        """Return T_later_earlier (4, 4), its translation in the unit of ``scale``."""
        return self.begin(earlier, later, scale)()

    def begin(self, earlier: EncodedFrame, later: EncodedFrame, scale: ScaleState) -> Callable[[], NDArray[np.float64]]:
        """Start the measurement in the background; return a function that waits for the result of `motion`."""
        camera = later.rectified.camera
        coming = self._networks.motion_ahead(earlier, later, camera, self._scale.ratio(camera))

        def motion() -> NDArray[np.float64]:
            axisangle, translation = coming.result()
            moved = translation.double() * scale.factor
            return np.asarray(pose_matrix(axisangle.double()[None], moved[None])[0].numpy())

        return motion


class NoMotion:
    """Replaces a motion estimator if there is no pose network or no motion is wanted."""

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


class PairedMotion:
    """Base class that pairs consecutive frames, and holds the pose while the camera stands.

    Subclasses measure the motion. A frame is paired with the previous received one, also if frames in between were
    dropped. A standing camera keeps its earlier frame, so that slow motion is measured from its beginning.

    Args:
        config: see `EstimatorConfig`.
    """

    def __init__(self, config: EstimatorConfig) -> None:
        self._config = config
        self._gate = StandingGate()
        self.reset()

    def reset(self) -> None:
        """Forget the earlier frame."""
        self._gate.reset()
        self._earlier: EncodedFrame | None = None
        self._last_stamp_ns: int | None = None

    def update(self, frame: EncodedFrame, scale: ScaleState) -> MeasuredMotion:
        """Process the next frame; see `MotionEstimator`."""
        stamp_ns, last, earlier = frame.rectified.stamp_ns, self._last_stamp_ns, self._earlier
        self._last_stamp_ns = stamp_ns
        paired = last is not None and earlier is not None and stamp_ns > last
        dt_ns = stamp_ns - last if paired and last is not None else 0
        too_late = dt_ns > self._config.max_gap_s * 1e9
        if not paired or too_late:
            self._gate.reset()
        if self._stands(frame):  # always False after a reset of the gate
            standing = se3_numpy.twist_from([_STANDING_M**2] * 3, [_STANDING_RAD**2] * 3)
            return MeasuredMotion(Motion(MotionState.STANDING, np.eye(4), dt_ns, np.diag(standing)))
        self._earlier = frame
        if earlier is None or not paired or too_late:
            window = self._begin(frame, scale)
            return MeasuredMotion(unmeasured(MotionState.GAP if too_late else MotionState.FIRST, dt_ns), window=window)
        return self._measure(earlier, frame, dt_ns, scale)

    def _begin(self, frame: EncodedFrame, scale: ScaleState) -> WindowResult | None:
        """Process a frame without a previous one."""
        return None

    def _measure(self, earlier: EncodedFrame, frame: EncodedFrame, dt_ns: int, scale: ScaleState) -> MeasuredMotion:
        raise NotImplementedError

    def _stands(self, frame: EncodedFrame) -> bool:
        if not self._config.standing_gate:
            return False
        return self._gate.stands(frame.rectified.host_image[0].permute(1, 2, 0).numpy())


class Explains(Protocol):
    """Checks whether a motion between two frames explains the later image."""

    def prepare(self, earlier: EncodedFrame, later: EncodedFrame, scale: ScaleState) -> None:
        """Do the part that needs neither depth nor motion of the later frame, while the networks process it."""

    def __call__(
        self, T_previous_current: NDArray[np.float64], earlier: EncodedFrame, later: EncodedFrame, scale: ScaleState
    ) -> bool:
        """Return whether a motion (4, 4), in the unit of ``scale``, explains the later image."""


class NetworkMotion(PairedMotion):
    """Motion by the pose network between two frames, without earlier ones.

    Args:
        pose: measures the motion.
        config: see `EstimatorConfig`.
        explains: checks the motion; one that does not explain the image is lost. None: no check.
    """

    def __init__(self, pose: PoseNetwork, config: EstimatorConfig, explains: Explains | None = None) -> None:
        self._pose = pose
        self._explains = explains
        super().__init__(config)

    def _measure(self, earlier: EncodedFrame, frame: EncodedFrame, dt_ns: int, scale: ScaleState) -> MeasuredMotion:
        coming = self._pose.begin(earlier, frame, scale)
        if self._explains is not None:
            self._explains.prepare(earlier, frame, scale)
        motion = network_motion(coming(), dt_ns, scale)
        if self._explains is not None and not self._explains(motion.T_previous_current, earlier, frame, scale):
            return MeasuredMotion(unmeasured(MotionState.LOST, dt_ns))
        return MeasuredMotion(motion, earlier)


def unmeasured(state: MotionState, dt_ns: int) -> Motion:
    """Return the motion of a frame without a measurement: the identity, with the uncertainty of a fast vehicle."""
    variances = se3_numpy.twist_from([_UNKNOWN_M**2] * 3, [_UNKNOWN_RAD**2] * 3)
    return Motion(state, np.eye(4), dt_ns, np.diag(variances))


def network_motion(T_later_earlier: NDArray[np.float64], dt_ns: int, scale: ScaleState) -> Motion:
    """Return the pose network's motion with its covariance: a floor, a share of its size, and the scale's variance.

    Args:
        T_later_earlier: (4, 4) result of the pose network, in the unit of ``scale``.
        dt_ns: stamp difference, nanoseconds.
        scale: scale whose variance applies to all lengths.
    """
    T_previous_current = se3_numpy.inverse(T_later_earlier)
    distance = float(np.linalg.norm(T_previous_current[:3, 3]))
    angle = float(np.linalg.norm(se3_numpy.vector_from_rotation(T_previous_current[:3, :3])))
    variance_m = (NETWORK_SHARE * distance) ** 2 + _NETWORK_FLOOR_M**2 + scale.variance * distance**2
    variance_rad = (NETWORK_SHARE * angle) ** 2 + _NETWORK_FLOOR_RAD**2
    covariance = np.diag(se3_numpy.twist_from([variance_m] * 3, [variance_rad] * 3))
    return Motion(MotionState.TRACKED, T_previous_current, dt_ns, covariance, scale_log_variance=scale.variance)
