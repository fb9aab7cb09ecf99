"""Inputs and outputs of the estimator. The package `ros` converts them to messages.

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
    """The scale: conversion of network units to published units.

    Attributes:
        kind: ``relative`` (model units), ``metric_unverified`` (metres of the weights) or ``metric`` (metres that were
            determined for this camera). `inference.scale` has the rules.
        source: one of five.
            - ``none``: relative.
            - ``model``: the weights are metric.
            - ``factor``: fixed by the user, or the published stereo factor.
            - ``camera_height``: from the ground plane and the camera's height.
            - ``speed``: from the speed of the robot.
        factor: metres (or model units, when relative) per network unit, including focal-length compensation.
        variance: variance of the natural logarithm of ``factor``; 0 for a factor that the user fixed.
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
    """Outcome of the motion estimation of a frame."""

    FIRST = "first"  # nothing to compare with: start, reset, time jump
    TRACKED = "tracked"  # measured: by the window, or by the pose network
    STANDING = "standing"  # the zero-motion gate holds the camera still: exactly the identity
    LOST = "lost"  # neither tracks nor the pose network explain the image, or the motion is implausible; motion unknown
    BLIND = "blind"  # the image shows nothing: dark, overexposed, out of focus; motion unknown
    FROZEN = "frozen"  # the driver repeats an image with new stamps; motion unknown
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
        reason: why the motion is unknown, if something is wrong; else empty.
        refused: whether a motion was measured and rejected, because the vehicle cannot move so fast.
        scale_log_variance: variance of the log scale error that ``T_previous_current`` has in common with earlier
            motions. It is part of ``covariance``. 0: there is no such part.
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
    """Result of the estimator for one frame.

    Attributes:
        stamp_ns: the input image's stamp.
        image: (h, w, 3) uint8 RGB, rectified, with the same pixels as ``depth``.
        camera: pinhole camera of ``image`` and ``depth`` without distortion; None if the input was uncalibrated.
        depth: (h, w) float32, z-depth; metres when ``scale.in_metres``. NaN where the image shows nothing (see
            `inference.gates.sight`); finite everywhere else.
        valid: (h, w) bool; see `inference.validity` for the rule.
        in_image: (h, w) bool; False where rectification reaches outside the delivered image.
        min_depth, max_depth: range of valid depth, same unit as ``depth``.
        sigma: (h, w) float32 standard deviation of ``depth``; None if the model gives none.
        motion: motion since the earlier frame.
        scale: unit of the depth and its source.
        stage_ms: wall time of each stage, milliseconds, in order.
        window: residual, tracks, keyframe and points of this frame; None if no window ran.
        guessed_depth: (h, w) float32 ``depth`` with the network's guess where nothing is visible, finite everywhere.
            None if ``depth`` itself is finite everywhere.
        network_depth: (h', w') float32, the network's depth before its correction, at the size of the network's
            output; None if ``depth`` was not corrected.
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
        """(h, w) float32 ``depth`` with the network's guess where nothing is visible; finite everywhere."""
        return self.depth if self.guessed_depth is None else self.guessed_depth
