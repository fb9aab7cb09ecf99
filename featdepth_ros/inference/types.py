"""What goes into the estimator and what comes out. No ROS here; `ros/` turns these into messages and back.

Frames of reference: ``camera`` is the rectified camera's optical frame (x right, y down, z forward).
``T_a_b`` maps points in b's coordinates to a's. Lengths are metres when ``scale.in_metres``, model units
otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.window.types import WindowResult

ScaleKind = Literal["relative", "metric_unverified", "metric"]
ScaleSource = Literal["none", "model", "factor", "camera_height", "speed"]


@dataclass(frozen=True)
class ScaleState:
    """How network units become metres.

    Attributes:
        kind: ``relative`` (model units), ``metric_unverified`` (metres as the weights have them) or ``metric`` (metres
            by an answer about this camera). The rule is in `inference.scale`.
        source: one of five.
            - ``none``: relative.
            - ``model``: the weights say they are metric.
            - ``factor``: fixed by the user or the published stereo factor.
            - ``camera_height``: from the ground plane.
            - ``speed``: of the robot.
        factor: metres (or model units, when relative) per network unit, focal-length compensation included.
        variance: of the natural logarithm of ``factor``; 0 when fixed by decree, larger while still uncertain.
    """

    kind: ScaleKind
    source: ScaleSource
    factor: float
    variance: float

    @property
    def in_metres(self) -> bool:
        """Whether lengths are metres, verified or not; else they are model units."""
        return self.kind != "relative"


class MotionState(str, Enum):
    """Why the motion of a frame is what it is."""

    FIRST = "first"  # nothing to compare with: start, reset, time jump
    TRACKED = "tracked"  # measured: by the window, or by the pose network
    STANDING = "standing"  # the zero-motion gate holds the camera still: exactly the identity
    LOST = "lost"  # neither tracks nor the pose network explain the picture, or the motion is absurd; motion unknown
    BLIND = "blind"  # the picture shows nothing: dark, overexposed, out of focus; motion unknown
    FROZEN = "frozen"  # the driver repeats a picture under new stamps; motion unknown
    GAP = "gap"  # the earlier frame is too old; motion unknown
    UNAVAILABLE = "unavailable"  # no pose network, or no calibration


@dataclass(frozen=True)
class Motion:
    """Motion of the camera since the earlier frame of the pair.

    Attributes:
        state: see `MotionState`.
        T_previous_current: (4, 4) float64; the pose of the current camera in the previous camera's frame.
            The identity unless ``state`` is TRACKED.
        dt_ns: stamp difference of the pair, nanoseconds; 0 for FIRST.
        covariance: (6, 6) of (x y z, rotation about x y z) in the previous camera's frame; m^2 and rad^2. Never zero.
        reason: why no motion is claimed, in words, where something is wrong; else empty.
        refused: a motion was measured and is not believed, because the vehicle cannot move so fast.
        scale_log_variance: variance of the natural logarithm of the scale that ``T_previous_current`` has in common
            with the motions before; ``covariance`` holds it. 0: no such part.
    """

    state: MotionState
    T_previous_current: NDArray[np.float64]
    dt_ns: int
    covariance: NDArray[np.float64]
    reason: str = ""
    refused: bool = False
    scale_log_variance: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """What one frame gave.

    Attributes:
        stamp_ns: the input image's stamp.
        image: (h, w, 3) uint8 RGB, rectified: the very pixels the depth belongs to.
        camera: ideal pinhole camera of ``image`` and ``depth``; None when the input was uncalibrated.
        depth: (h, w) float32, z-depth; metres when ``scale.in_metres``. NaN where the picture shows nothing (see
            `inference.gates.sight`); finite everywhere else.
        valid: (h, w) bool; see `inference.validity` for the rule.
        in_image: (h, w) bool; False where rectification reached outside the delivered image.
        min_depth, max_depth: the range the values are trusted in, same unit as ``depth``.
        sigma: (h, w) float32 standard deviation of ``depth``, or None when the model gives none.
        motion: since the earlier frame.
        scale: how the unit came about.
        stage_ms: wall time of each stage, milliseconds, in order.
        window: residual, tracks, keyframe and points of this frame; None where no window ran.
        guessed_depth: (h, w) float32 ``depth`` with the network's guess where nothing is seen: finite everywhere. None
            where ``depth`` itself is.
        network_depth: (h', w') float32, the network's own depth before it was corrected, at the size of the network's
            output; None when ``depth`` is it.
    """

    stamp_ns: int
    image: NDArray[np.uint8]
    camera: CameraModel | None
    depth: NDArray[np.float32]
    valid: NDArray[np.bool_]
    in_image: NDArray[np.bool_]
    min_depth: float
    max_depth: float
    sigma: NDArray[np.float32] | None
    motion: Motion
    scale: ScaleState
    stage_ms: dict[str, float] = field(default_factory=dict)
    window: WindowResult | None = None
    network_depth: NDArray[np.float32] | None = None
    guessed_depth: NDArray[np.float32] | None = None

    @property
    def finite_depth(self) -> NDArray[np.float32]:
        """(h, w) float32 ``depth``, guessed where nothing is seen; finite everywhere."""
        return self.depth if self.guessed_depth is None else self.guessed_depth
