"""What is asked of a recording of the node, and what it says."""

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
    """What to compare, and how.

    Attributes:
        topics: topics the caller names; the others are found.
        truth_bag: bag that holds the truth, when it is not the recording itself.
        cap, min_depth: metres, see `metrics.DepthProtocol`.
        scale: of depth: ``auto`` is none when the node says its scale is metric (or says nothing), else median.
        align: of odometry: ``auto`` is none or scale, likewise.
        lengths: of segments, metres; None: KITTI's, or 5 to 80 m when the true path is shorter than 100 m.
        max_difference_s: largest stamp difference of a pair.
        pictures: frames that are shown, at most.
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
    """Everything a report says; None and empty where the recording could not tell.

    Attributes:
        bag: path of the recording.
        topics: which topic was taken for what.
        frames: depth images (or odometry messages, without depth) of the node.
        input_frames: images the node was given, as far as they were recorded.
        missed: of these, images between the node's first and last frame that have none of its frames.
        duration_s, rate_hz: from the first to the last of the node's frames, by recording time.
        latency_ms: (N,) of each frame, see ``latency_source``.
        latency_source: ``stamp`` is recording time minus header stamp. ``image`` is recording time of the frame minus
            that of its image, where stamps and the recorder's clock differ. Empty when neither is possible.
        diagnosis: what the node said of itself.
        relative: the node said that its scale is relative.
        depth: against truth.
        coverage: share of pixels with truth in the protocol's range for which the node gave a depth.
        odometry: against truth.
        alignment: of the odometry.
        path: (N, 4, 4) the estimated poses, based at the first.
        pictures: frames to look at.
        notes: what a reader should know.
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
        """All figures, as the command line's JSON; what could not be measured is None."""
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
