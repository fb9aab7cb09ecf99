"""What depth_node says of itself on /diagnostics, and figures of how well it does while it moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Reports that are kept to compare with: two minutes at one a second.
KEPT = 120
#: Keys of images whose motion was not found.
_LOST = ("lost_images", "refused_images")


@dataclass(frozen=True)
class NodeReport:
    """One message of depth_node.

    Attributes:
        at_s: when it came, seconds that never go back.
        state: of the life cycle.
        weights: in force.
        swapped: how often they were exchanged since the node began.
        pending: weights that are being made ready, in words; empty: none.
        trouble: why weights were not taken; empty: they were.
        processed: images since the node began.
        lost: of these, how many gave no motion that is believed.
        moving: the camera moves, and its motion is measured.
        metric: depth is in metres.
        residual_px: reprojection error of the window's tracks, median; None: no window ran.
        tracks: how many of them.
        valid_share: of the depths.
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
    """Make it of a DiagnosticStatus; None: it is not that of a depth_node that is configured."""
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
    """How well the node did over some reports. None: nothing was measured.

    Attributes:
        moving_s: seconds in motion.
        residual_px, tracks, valid_share: medians while it moved.
        lost_share: of the images.
    """

    moving_s: float = 0.0
    residual_px: float | None = None
    tracks: float | None = None
    valid_share: float | None = None
    lost_share: float | None = None


class LiveWindow:
    """The newest reports under one set of weights."""

    def __init__(self, most: int = KEPT) -> None:
        self._reports: deque[NodeReport] = deque(maxlen=most)
        self._moving_s = 0.0

    def add(self, report: NodeReport) -> None:
        """Take a report; one without new images says nothing."""
        before = self._reports[-1] if self._reports else None
        if before is not None and report.processed < before.processed:  # the node began anew
            self.clear()
            before = None
        if before is not None and report.processed == before.processed:
            return
        if before is not None and report.moving:
            self._moving_s += min(report.at_s - before.at_s, 5.0)
        self._reports.append(report)

    def clear(self) -> None:
        """Forget all of them."""
        self._reports.clear()
        self._moving_s = 0.0

    @property
    def figures(self) -> LiveFigures:
        """What they say together."""
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
