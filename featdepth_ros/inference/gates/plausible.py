"""Checks whether the vehicle can make a measured motion; a faster one was measured wrongly."""

from __future__ import annotations

import numpy as np

from featdepth_ros.geometry import se3_numpy
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.types import Motion, MotionState, ScaleState


def absurdity(motion: Motion, scale: ScaleState, config: EstimatorConfig) -> str:
    """Return why a measured motion is impossible; empty if it is possible, or if there is none.

    Speeds are checked only with a metric scale, because they are unknown otherwise.
    """
    if motion.state is not MotionState.TRACKED or motion.dt_ns <= 0:
        return ""
    T, seconds = motion.T_previous_current, motion.dt_ns * 1e-9
    if not np.isfinite(T).all():
        return "the motion is not finite"
    speed = float(np.linalg.norm(T[:3, 3])) / seconds
    if scale.in_metres and speed > config.max_speed_mps:
        return f"a speed of {speed:.1f} m/s was measured, above max_speed_mps ({config.max_speed_mps:g})"
    turn = float(np.linalg.norm(se3_numpy.vector_from_rotation(T[:3, :3]))) / seconds
    if turn > config.max_turn_rps:
        return f"a turn of {turn:.1f} rad/s was measured, above max_turn_rps ({config.max_turn_rps:g})"
    return ""
