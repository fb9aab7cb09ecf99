"""/diagnostics: what the node knows about itself, and how worried it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from featdepth_ros.inference.types import Estimate, MotionState, ScaleState
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.ros.images import time_message
from featdepth_ros.ros.statistics import Snapshot


@dataclass(frozen=True)
class FrameReport:
    """What diagnostics say of one frame.

    Attributes:
        scale: how its unit came about.
        motion_state: what became of its motion.
        depth: ``fused`` or ``network``, see `Estimator.depth_source`.
        valid_share: of the pixels inside the delivered image, 0 to 1.
        uncalibrated: it had no calibration.
        tracks: points that agree with the motion; None where no window ran.
        residual_px: their median reprojection error in pixels; None without any.
        reason: what is wrong with the picture or its motion, in words; empty: nothing.
    """

    scale: ScaleState
    motion_state: MotionState
    depth: str
    valid_share: float
    uncalibrated: bool
    tracks: int | None
    residual_px: float | None
    reason: str = ""

    @property
    def unusable(self) -> bool:
        """The picture itself shows nothing, or nothing new."""
        return bool(self.reason) and self.motion_state is not MotionState.LOST

    @classmethod
    def of(cls, estimate: Estimate, depth: str) -> FrameReport:
        """Make it of an estimate and the source of its depth."""
        window = estimate.window
        inside = int(estimate.in_image.sum())
        return cls(
            scale=estimate.scale,
            motion_state=estimate.motion.state,
            depth=depth,
            valid_share=float(estimate.valid[estimate.in_image].mean()) if inside else 0.0,
            uncalibrated=estimate.camera is None,
            tracks=window.tracks if window else None,
            residual_px=window.residual_px if window and math.isfinite(window.residual_px) else None,
            reason=estimate.motion.reason,
        )


@dataclass(frozen=True)
class Health:
    """Everything a diagnostic message is made of.

    Attributes:
        state: label of the lifecycle state.
        enabled: False after ``~/enable`` was called with false.
        figures: counters and times.
        silence: likely cause why no images come; empty while they come.
        info: of the weights, None before configure.
        weights: the parameter's value.
        device: where the networks run; empty before configure.
        frame: the last one that was processed, None before the first.
        base: frame whose motion is reported; empty while undecided.
        conflict: why the node's transform is held back, in words; empty: it is not.
        topics: (name, value) pairs about the inputs.
    """

    state: str
    enabled: bool
    figures: Snapshot
    silence: str = ""
    info: ModelInfo | None = None
    weights: str = ""
    device: str = ""
    frame: FrameReport | None = None
    base: str = ""
    conflict: str = ""
    topics: tuple[tuple[str, str], ...] = ()


#: Said in diagnostics and in the log.
LOST = "motion is lost: neither tracks nor the pose network explain the picture, and the pose holds"


def assess(health: Health) -> tuple[bytes, str]:
    """Return level and message: the worst that holds."""
    ok, warn, error = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
    figures, frame = health.figures, health.frame
    if health.state != "active":
        return ok, health.state
    if not health.enabled:
        return ok, "switched off by ~/enable"
    if health.silence:
        return error, health.silence
    if figures.last_error:
        return error, f"images are rejected: {figures.last_error}"
    if frame is not None and frame.unusable:
        return error, frame.reason
    if health.conflict:
        return error, health.conflict
    if figures.processed == 0 or frame is None:
        return ok, "waiting for the first image"
    if frame.uncalibrated:
        return warn, "uncalibrated: a depth image only, no cloud, no odometry, no TF"
    if frame.motion_state is MotionState.LOST:
        return warn, f"motion is lost: {frame.reason}, and the pose holds" if frame.reason else LOST
    if frame.scale.kind == "relative":
        return warn, "scale is relative: depth and odometry are in model units, not metres"
    return ok, f"{figures.rate_hz:.1f} frames/s"


def _stamps(age_ms: float | None) -> str:
    if age_ms is None:
        return ""
    if age_ms < -1000.0:
        return "in the future by the node's clock: are the machines' clocks synchronised?"
    if age_ms > 3.6e6:
        return "more than an hour old by the node's clock: a recording? play it with --clock and set use_sim_time"
    return "of the node's clock"


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def diagnostic_message(name: str, stamp: int, health: Health) -> DiagnosticArray:
    """Return the message.

    Args:
        name: of the status, such as ``depth_node: pipeline``.
        stamp: nanoseconds.
        health: what to report.
    """
    level, message = assess(health)
    figures, frame, info = health.figures, health.frame, health.info
    scale = frame.scale if frame else None
    values: list[tuple[str, str]] = [
        ("state", health.state),
        ("enabled", str(health.enabled).lower()),
        ("rate_hz", _number(figures.rate_hz, 2)),
        ("age_at_publish_ms", _number(figures.age_ms)),
        ("stamps", _stamps(figures.age_ms)),
        ("latency_ms", _number(figures.latency_ms)),
        ("received", str(figures.received)),
        ("processed", str(figures.processed)),
        ("dropped", str(figures.dropped)),
        ("rejected", str(figures.rejected)),
        ("skipped", str(figures.skipped)),
        ("time_jumps", str(figures.time_jumps)),
        ("last_error", figures.last_error),
        *((f"stage_{stage}_ms", _number(ms, 2)) for stage, ms in figures.stage_ms.items()),
        ("scale", scale.kind if scale else ""),
        ("scale_source", scale.source if scale else ""),
        ("scale_factor", f"{scale.factor:.6g}" if scale else ""),
        ("scale_log_variance", f"{scale.variance:.3g}" if scale else ""),
        ("motion_state", frame.motion_state.value if frame else ""),
        ("tracks", "" if frame is None or frame.tracks is None else str(frame.tracks)),
        ("residual_px", _number(frame.residual_px if frame else None, 2)),
        ("depth", frame.depth if frame else ""),
        ("valid_share", _number(frame.valid_share if frame else None, 3)),
        ("base", health.base),
        *health.topics,
        ("weights", health.weights),
        ("model", info.name if info else ""),
        ("architecture", info.architecture if info else ""),
        ("licence", info.licence if info else ""),
        ("device", health.device),
    ]
    status = DiagnosticStatus(level=level, name=name, message=message, hardware_id=info.name if info else "")
    status.values = [KeyValue(key=key, value=value) for key, value in values]
    array = DiagnosticArray(status=[status])
    array.header.stamp = time_message(stamp)
    return array
