"""Options and results of the evaluation of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.metrics import OdometryResult, path_distances
from featdepth_ros.reporting.depth_evaluation import DepthResult, Picture
from featdepth_ros.reporting.node_report.bag import Diagnosis, Topics
from featdepth_ros.reporting.node_report.timing import percentiles


@dataclass(frozen=True)
class RecordingOptions:
    """Options of the evaluation.

    Attributes:
        topics: topics that the caller names; the others are found by type and name.
        truth_bag: bag with the ground truth, if it is not the recording itself.
        cap, min_depth: largest and smallest evaluated depth, metres, see `metrics.DepthProtocol`.
        scale: scaling of depth. ``auto`` is ``median`` if the node reports a relative scale, else ``none``.
        align: alignment of odometry. ``auto`` is ``scale`` if the node reports a relative scale, else ``none``.
        lengths: segment lengths, metres. None: KITTI's, or 5 to 80 m if the true path is shorter than 100 m.
        max_difference_s: largest stamp difference between a frame and its ground truth, seconds.
        pictures: largest number of frames in the report.
    """

    topics: Topics = field(default_factory=Topics)
    truth_bag: str | Path | None = None
    cap: float = 80.0
    min_depth: float = 1e-3
    scale: Literal["auto", "none", "median"] | float = "auto"
    align: Literal["auto", "none", "scale", "6dof", "7dof", "umeyama_scale"] = "auto"
    lengths: Sequence[float] | None = None
    max_difference_s: float = 0.02
    pictures: int = 12


@dataclass(frozen=True)
class RecordingResult:
    """Results of the evaluation; values are None or empty if the recording lacks their data.

    Attributes:
        bag: path of the recording.
        topics: roles of the topics.
        frames: number of depth images of the node (or of odometry messages, without depth).
        input_frames: number of recorded input images of the node.
        missed: number of input images between the node's first and last frame without a frame of the same stamp.
        duration_s, rate_hz: time from the first to the last of the node's frames, by recording time, and their rate.
        latency_ms: (N,) latency of each frame, see ``latency_source``.
        latency_source: ``stamp`` is recording time minus header stamp. ``image`` is recording time of the frame minus
            that of its image, for stamps of another clock than the recorder's. Empty: neither is possible.
        diagnosis: diagnostics of the node.
        relative: whether the node reported a relative scale.
        depth: depth metrics against ground truth.
        coverage: share of the pixels with ground truth in the protocol's range for which the node gave a depth.
        odometry: odometry metrics against ground truth.
        alignment: alignment of the odometry.
        path: (N, 4, 4) estimated poses, relative to the first one.
        pictures: frames for the report.
        notes: remarks for the reader.
    """

    bag: str
    topics: Topics
    frames: int
    input_frames: int | None
    missed: int | None
    duration_s: float | None
    rate_hz: float | None
    latency_ms: NDArray[np.float64]
    latency_source: str
    diagnosis: Diagnosis
    relative: bool
    depth: DepthResult | None
    coverage: float | None
    odometry: OdometryResult | None
    alignment: str
    path: NDArray[np.float64] | None
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]

    def figures(self) -> dict[str, Any]:
        """Return all metrics by the JSON keys of the command line; unavailable ones are None."""
        values = self.diagnosis.values
        depth = None
        if self.depth is not None:
            depth = {**self.depth.figures(), "scale": self.depth.protocol.scale, "coverage": self.coverage}
        odometry = None if self.odometry is None else {**self.odometry.figures(), "align": self.alignment}
        return {
            "frames": self.frames,
            "input_frames": self.input_frames,
            "missed_frames": self.missed,
            "dropped": _whole(values.get("dropped")),
            "rejected": _whole(values.get("rejected")),
            "duration_s": self.duration_s,
            "rate_hz": self.rate_hz,
            "latency_ms": percentiles(self.latency_ms),
            "latency_source": self.latency_source or None,
            "age_at_publish_ms": percentiles(self.diagnosis.ages_ms),
            "scale_kind": values.get("scale") or None,
            "weights": values.get("weights") or None,
            "device": values.get("device") or None,
            "depth": depth,
            "odometry": odometry,
            "path_m": None if self.path is None else float(path_distances(self.path)[-1]),
            "notes": list(self.notes),
        }


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
