"""/diagnostics: the state of the node, and its level (OK, WARN, ERROR)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.types import Estimate, Motion, MotionState, ScaleState
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.ros.images import time_message
from featdepth_ros.ros.running.exchange import ExchangeReport
from featdepth_ros.ros.statistics import Snapshot


@dataclass(frozen=True)
class FrameReport:
    """The part of diagnostics about one frame.

    Attributes:
        scale: unit of the depth and its source.
        motion_state: outcome of the motion estimation.
        depth: ``fused`` or ``network``, see `Estimator.depth_source`.
        valid_share: share of valid pixels inside the delivered image, 0 to 1.
        uncalibrated: why there was no calibration, and what to do; empty: there was one.
        tracks: number of points that agree with the motion; None if no window ran.
        residual_px: median reprojection error of these points in pixels; None without any.
        reason: what is wrong with the image or its motion; empty: nothing.
        refused: the motion was measured and rejected as implausible, see `Motion`.
        speed: (speed of the camera, standard deviation of the velocity in its most uncertain direction), in metres (or
            model units) per second. None if motion is not tracked.
    """

    scale: ScaleState
    motion_state: MotionState
    depth: str
    valid_share: float
    uncalibrated: str
    tracks: int | None
    residual_px: float | None
    reason: str = ""
    refused: bool = False
    speed: tuple[float, float] | None = None

    @property
    def unusable(self) -> bool:
        """Whether the image shows nothing, or nothing new."""
        return bool(self.reason) and self.motion_state is not MotionState.LOST

    def trouble(self, min_valid_share: float) -> tuple[str, str]:
        """Return the problem of the frame as a name for counting and a sentence; two empty strings without a problem.

        Args:
            min_valid_share: share of valid depths below which there are too few.
        """
        if self.refused:
            return "refused", f"motion is lost: {self.reason}, and the pose holds"
        if self.motion_state is MotionState.LOST:
            return "lost", LOST
        if self.unusable:
            return ("frozen" if self.motion_state is MotionState.FROZEN else "blind"), self.reason
        if self.motion_state is MotionState.GAP:
            return "gap", GAP
        if self.uncalibrated:
            return "uncalibrated", self.uncalibrated
        if self.valid_share < min_valid_share:
            share = f"{self.valid_share:.0%}"
            return "few valid", f"only {share} of the depths are valid, below min_valid_share ({min_valid_share:g})"
        if self.motion_state is MotionState.TRACKED and self.tracks and self.tracks < FEW_TRACKS:
            return (
                "few tracks",
                f"motion rests on only {self.tracks} tracks: did the camera jump, or is there little to see?",
            )
        if self.speed is not None and self.speed[1] > max(DOUBT_TIMES * self.speed[0], LEAST_DOUBT):
            return "doubtful", DOUBTFUL.format(*self.speed)
        return "", ""

    @classmethod
    def of(cls, estimate: Estimate, depth: str, uncalibrated: str) -> FrameReport:
        """Return the report of an estimate.

        Args:
            estimate: the estimate.
            depth: source of its depth, ``fused`` or ``network``.
            uncalibrated: why there was no calibration; empty: there was one.
        """
        window = estimate.window
        inside = int(estimate.in_image.sum())
        return cls(
            scale=estimate.scale,
            motion_state=estimate.motion.state,
            depth=depth,
            valid_share=float(estimate.valid[estimate.in_image].mean()) if inside else 0.0,
            uncalibrated=uncalibrated,
            tracks=window.tracks if window else None,
            residual_px=window.residual_px if window and math.isfinite(window.residual_px) else None,
            reason=estimate.motion.reason,
            refused=estimate.motion.refused,
            speed=_speed(estimate.motion),
        )


def _speed(motion: Motion) -> tuple[float, float] | None:
    """Return the speed and the largest standard deviation of the velocity, units per second; None if not tracked."""
    if motion.state is not MotionState.TRACKED or motion.dt_ns <= 0:
        return None
    seconds, part = motion.dt_ns * 1e-9, se3.TRANSLATION
    deviation = math.sqrt(float(np.linalg.eigvalsh(motion.covariance[part, part])[-1]))
    return float(np.linalg.norm(motion.T_previous_current[:3, 3])) / seconds, deviation / seconds


@dataclass(frozen=True)
class Health:
    """The content of a diagnostic message.

    Attributes:
        state: label of the lifecycle state.
        enabled: False after ``~/enable`` was called with false.
        figures: counters and times.
        silence: likely cause of missing images; empty while images arrive.
        info: description of the weights; None before configure.
        weights: value of the parameter ``weights``.
        exchange: the weights in use and the next ones; None before configure.
        device: device of the networks; empty before configure.
        frame: the last processed frame; None before the first.
        base: frame whose motion is reported; empty while undecided.
        conflict: why the node's transform is held back; empty: it is published.
        sensors: missing readings of speed and gyroscope; empty: none is missing, or none is configured.
        topics: (name, value) pairs about the inputs.
        clock: problem of the node's clock; empty: none.
        frames: problem of the images' frame; empty: none.
        min_valid_share: value of the parameter ``min_valid_share``.
        notes: differences from the requested settings: a rejected back end, a missing package.
        backend: back end of the networks; empty before configure.
        doubts: suspected problems of the camera's input or mounting, one sentence each.
        unstamped: whether the images have no stamps.
    """

    state: str
    enabled: bool
    figures: Snapshot
    silence: str = ""
    info: ModelInfo | None = None
    weights: str = ""
    exchange: ExchangeReport | None = None
    device: str = ""
    frame: FrameReport | None = None
    base: str = ""
    conflict: str = ""
    sensors: str = ""
    topics: tuple[tuple[str, str], ...] = ()
    clock: str = ""
    frames: str = ""
    min_valid_share: float = 0.0
    notes: tuple[str, ...] = ()
    backend: str = ""
    doubts: tuple[str, ...] = ()
    unstamped: bool = False


#: Problems of images that are counted over the life of the node.
COUNTED = (
    "lost",
    "refused",
    "blind",
    "frozen",
    "gap",
    "uncalibrated",
    "few valid",
    "few tracks",
    "doubtful",
    "changed",
)

#: Texts of diagnostics; most of them are logged, too.
LOST = "motion is lost: neither tracks nor the pose network explain the picture, and the pose holds"
DOUBTFUL = (
    "motion is doubtful: a speed of {0:.1f} was measured, and its standard deviation is {1:.1f}. Does most of the "
    "picture move along, or is too little of it near?"
)
#: Number of tracks below which motion is doubtful: the window needs 12, and 25 are usual in small images.
FEW_TRACKS = 20
#: Motion is doubtful when the standard deviation of the velocity exceeds both limits. The first is a factor on the
#: speed, the second is in metres (or model units) per second. In images of 320 columns, 0.6 m/s is usual at 20 m.
DOUBT_TIMES, LEAST_DOUBT = 2.0, 2.0
UNVERIFIED = "metres are those of the weights, unverified here: set scale to camera_height, or speed_topic"
UNCALIBRATED = "uncalibrated: a depth image only, no cloud, no odometry, no TF"
UNSTAMPED = "the images have none: the node's clock is used instead, and its delays falsify the motion"
FUTURE = "in the future by the node's clock: are the machines' clocks synchronised?"
#: Ages in milliseconds: below the first, stamps are in the future; above the second, results are late; above the third,
#: an old recording is played.
FUTURE_MS, LATE_MS, RECORDED_MS = -1000.0, 2000.0, 3.6e6
LATE = "old by the node's clock: is the driver or the machine too slow, or are the machines' clocks not synchronised?"
GAP = "the frame before is older than max_gap_s: motion in between is unknown, and the pose holds"


def assess(health: Health) -> tuple[bytes, str]:
    """Return the level and the message of the most severe problem."""
    ok, warn, error = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
    figures, frame = health.figures, health.frame
    if health.state != "active":
        return ok, health.state
    if not health.enabled:
        return ok, "switched off by ~/enable"
    unusable = frame.reason if frame is not None and frame.unusable else ""
    rejected = f"images are rejected: {figures.last_error}" if figures.last_error else ""
    for words in (health.silence, rejected, unusable, health.conflict, health.frames):
        if words:
            return error, words
    if health.clock:
        return warn, health.clock
    if figures.processed == 0 or frame is None:
        return ok, "waiting for the first image"
    refused = health.exchange.trouble if health.exchange else ""
    of_the_node = (health.sensors, refused, *health.notes)
    for words in (*_warnings(frame, figures, health.min_valid_share), *health.doubts, *of_the_node):
        if words:
            return warn, words
    more = "" if frame.scale.kind == "metric" else f"; {UNVERIFIED}"
    return ok, f"{figures.rate_hz:.1f} frames/s{more}"


def _warnings(frame: FrameReport, figures: Snapshot, min_valid_share: float) -> Iterator[str]:
    """Yield the warnings, the most severe first."""
    _, words = frame.trouble(min_valid_share)
    if words:
        yield words
    if figures.age_ms is not None and figures.age_ms < FUTURE_MS:
        yield f"the images' stamps are {-figures.age_ms / 1e3:.0f} s {FUTURE}"
    if figures.age_ms is not None and LATE_MS < figures.age_ms < RECORDED_MS:
        yield f"answers are {figures.age_ms / 1e3:.0f} s {LATE}"
    if figures.troubles:
        yield f"{_recent(figures)}; the newest: {figures.trouble}"
    if frame.scale.kind == "relative":
        yield "scale is relative: depth and odometry are in model units, not metres"


def _recent(figures: Snapshot) -> str:
    """Return the problems of the images in the last seconds with their counts; empty without any."""
    if not figures.troubles:
        return ""
    counts = ", ".join(f"{count} {name}" for name, count in figures.troubles.items())
    return f"of the last {figures.recent} images {counts}"


def _stamps(age_ms: float | None) -> str:
    if age_ms is None:
        return ""
    if age_ms < FUTURE_MS:
        return FUTURE
    if age_ms > RECORDED_MS:
        return "more than an hour old by the node's clock: a recording? play it with --clock and set use_sim_time"
    return "of the node's clock"


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _weights(health: Health) -> list[tuple[str, str]]:
    """Return the (key, value) pairs about the weights in use and the next ones."""
    report = health.exchange
    if report is None:
        return [("weights", health.weights)]
    return [
        ("weights", report.weights),
        ("weights_swapped", str(report.swapped)),
        ("weights_pending", report.pending),
        ("weights_trouble", report.trouble),
    ]


def diagnostic_message(name: str, stamp: int, health: Health) -> DiagnosticArray:
    """Return the diagnostics message of the node.

    Args:
        name: name of the status, such as ``depth_node: pipeline``.
        stamp: stamp of the message, nanoseconds.
        health: content of the message.
    """
    level, message = assess(health)
    figures, frame, info = health.figures, health.frame, health.info
    scale = frame.scale if frame else None
    speed = frame.speed if frame else None
    values: list[tuple[str, str]] = [
        ("state", health.state),
        ("enabled", str(health.enabled).lower()),
        ("rate_hz", _number(figures.rate_hz, 2)),
        ("age_at_publish_ms", _number(figures.age_ms)),
        ("stamps", UNSTAMPED if health.unstamped else _stamps(figures.age_ms)),
        ("latency_ms", _number(figures.latency_ms)),
        ("received", str(figures.received)),
        ("processed", str(figures.processed)),
        ("dropped", str(figures.dropped)),
        ("rejected", str(figures.rejected)),
        ("skipped", str(figures.skipped)),
        ("time_jumps", str(figures.time_jumps)),
        ("last_error", figures.last_error),
        ("rejected_share", _number(figures.troubles.get("rejected", 0) / max(figures.recent, 1), 3)),
        ("recent_troubles", _recent(figures)),
        *((f"{name.replace(' ', '_')}_images", str(figures.totals.get(name, 0))) for name in COUNTED),
        *((f"stage_{stage}_ms", _number(ms, 2)) for stage, ms in figures.stage_ms.items()),
        ("scale", scale.kind if scale else ""),
        ("scale_source", scale.source if scale else ""),
        ("scale_factor", f"{scale.factor:.6g}" if scale else ""),
        ("scale_log_variance", f"{scale.variance:.3g}" if scale else ""),
        ("motion_state", frame.motion_state.value if frame else ""),
        ("tracks", "" if frame is None or frame.tracks is None else str(frame.tracks)),
        ("speed", _number(speed[0] if speed else None, 2)),
        ("speed_deviation", _number(speed[1] if speed else None, 2)),
        ("residual_px", _number(frame.residual_px if frame else None, 2)),
        ("depth", frame.depth if frame else ""),
        ("valid_share", _number(frame.valid_share if frame else None, 3)),
        ("base", health.base),
        *health.topics,
        *_weights(health),
        ("model", info.name if info else ""),
        ("architecture", info.architecture if info else ""),
        ("licence", info.licence if info else ""),
        ("device", health.device),
        ("backend", health.backend),
        ("notes", "; ".join(health.notes)),
    ]
    status = DiagnosticStatus(level=level, name=name, message=message, hardware_id=info.name if info else "")
    status.values = [KeyValue(key=key, value=value) for key, value in values]
    array = DiagnosticArray(status=[status])
    array.header.stamp = time_message(stamp)
    return array
