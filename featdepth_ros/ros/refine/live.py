"""Reports of depth_node from /diagnostics, and figures of its quality while it moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Number of reports kept for comparison: two minutes at one per second.
KEPT = 120
#: Diagnostics keys that count images without a motion.
_LOST = ("lost_images", "refused_images")


@dataclass(frozen=True)
class NodeReport:
    """One diagnostics message of depth_node.

    Attributes:
        at_s: time of arrival, monotonic seconds.
        state: lifecycle state.
        weights: weights in use.
        swapped: number of weight swaps since the start of the node.
        pending: weights that are being loaded, as text; empty: none.
        trouble: why the last weights were rejected; empty: they were not.
        processed: number of images since the start of the node.
        lost: number of these images without a reliable motion.
        moving: whether the camera moves and its motion is measured.
        metric: whether depth is in metres.
        residual_px: median reprojection error of the window's tracks, pixels; None: no window ran.
        tracks: number of these tracks.
        valid_share: share of valid depths, 0 to 1.
    """

    at_s: float
    state: str
    weights: str
    swapped: int
    pending: str
    trouble: str
    processed: int
    lost: int
    moving: bool
    metric: bool
    residual_px: float | None
    tracks: float | None
    valid_share: float | None


def read_report(status: Any, at_s: float) -> NodeReport | None:
    """Return the report in a DiagnosticStatus; None if it is not from a configured depth_node.

    Args:
        status: the DiagnosticStatus.
        at_s: time of arrival, monotonic seconds.
    """
    values = {value.key: value.value for value in status.values}
    if "weights_swapped" not in values:
        return None

    def number(key: str) -> float | None:
        try:
            return float(values.get(key, ""))
        except ValueError:
            return None

    return NodeReport(
        at_s=at_s,
        state=values.get("state", ""),
        weights=values.get("weights", ""),
        swapped=int(number("weights_swapped") or 0),
        pending=values.get("weights_pending", ""),
        trouble=values.get("weights_trouble", ""),
        processed=int(number("processed") or 0),
        lost=sum(int(number(key) or 0) for key in _LOST),
        moving=values.get("motion_state") == "tracked",
        metric=values.get("scale", "relative") != "relative",
        residual_px=number("residual_px"),
        tracks=number("tracks"),
        valid_share=number("valid_share"),
    )


@dataclass(frozen=True)
class LiveFigures:
    """Quality of the node over some reports. None: not measured.

    Attributes:
        moving_s: seconds in motion.
        residual_px, tracks, valid_share: medians during motion.
        lost_share: share of images without a reliable motion, 0 to 1.
    """

    moving_s: float = 0.0
    residual_px: float | None = None
    tracks: float | None = None
    valid_share: float | None = None
    lost_share: float | None = None


class LiveWindow:
    """The newest reports with one set of weights."""

    def __init__(self, most: int = KEPT) -> None:
        self._reports: deque[NodeReport] = deque(maxlen=most)
        self._moving_s = 0.0

    def add(self, report: NodeReport) -> None:
        """Add a report; one without new images is ignored."""
        before = self._reports[-1] if self._reports else None
        if before is not None and report.processed < before.processed:  # the node was restarted
            self.clear()
            before = None
        if before is not None and report.processed == before.processed:
            return
        if before is not None and report.moving:
            self._moving_s += min(report.at_s - before.at_s, 5.0)
        self._reports.append(report)

    def clear(self) -> None:
        """Remove all reports."""
        self._reports.clear()
        self._moving_s = 0.0

    @property
    def figures(self) -> LiveFigures:
        """The figures of all reports together."""
        reports = list(self._reports)
        if len(reports) < 2:
            return LiveFigures()
        images = reports[-1].processed - reports[0].processed
        return LiveFigures(
            moving_s=self._moving_s,
            residual_px=_median([r.residual_px for r in reports if r.moving]),
            tracks=_median([r.tracks for r in reports if r.moving]),
            valid_share=_median([r.valid_share for r in reports if r.moving]),
            lost_share=(reports[-1].lost - reports[0].lost) / images,
        )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
