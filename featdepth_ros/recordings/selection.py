"""Selects the frames of a recording that are useful for training, by time and motion.

A frame is kept if the image has moved enough since the last kept one, and still overlaps with it. Static sequences
give one frame, blurred frames none. Cuts and gaps in time end a sequence, so that no sample spans them.
"""

from __future__ import annotations

import base64
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Verdict = Literal["kept", "static", "blurred", "too_far", "gap", "cut"]

#: Image width in pixels at which motion is measured.
MEASURED_WIDTH = 160
#: Number of recent frames with which sharpness is compared.
SHARPNESS_FRAMES = 31


@dataclass(frozen=True)
class SelectionConfig:
    """Thresholds of the selection.

    Attributes:
        min_motion, max_motion: median shift of the image between neighbours, as a share of its width.
        max_gap_s: largest difference of stamps between neighbours, seconds.
        blur: a frame is blurred when its sharpness is below this share of the recent frames' median.
        cut: mean absolute difference (images in [0, 1]) after alignment by optical flow above which two frames show
            different scenes.
    """

    min_motion: float = 0.004
    max_motion: float = 0.15
    max_gap_s: float = 1.0
    blur: float = 0.3
    cut: float = 0.12


@dataclass
class Selector:
    """Judges frames one after the other; ``counts`` has the number of frames for each verdict."""

    config: SelectionConfig = field(default_factory=SelectionConfig)
    counts: Counter[str] = field(default_factory=Counter)
    _last: NDArray[np.uint8] | None = None
    _last_ns: int = 0
    _sharpness: deque[float] = field(default_factory=lambda: deque(maxlen=SHARPNESS_FRAMES))

    def __post_init__(self) -> None:
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def judge(self, image: NDArray[np.uint8], stamp_ns: int) -> Verdict:
        """Judge the next frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp_ns: its stamp, nanoseconds.

        Returns:
            ``kept``: belongs to the current sequence. ``too_far``, ``gap``, ``cut``: kept, but begins a new sequence.
            ``static``, ``blurred``: to be left out.
        """
        verdict = self._judge(_small_grey(image), stamp_ns)
        self.counts[verdict] += 1
        return verdict

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values, from which `load_state_dict` continues exactly."""
        last = None
        if self._last is not None:
            last = base64.b64encode(cv2.imencode(".png", self._last)[1].tobytes()).decode()
        return {
            "counts": dict(self.counts),
            "last": last,
            "last_ns": self._last_ns,
            "sharpness": list(self._sharpness),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of `state_dict`."""
        self.counts = Counter(state["counts"])
        self._last_ns = int(state["last_ns"])
        self._sharpness = deque(state["sharpness"], maxlen=SHARPNESS_FRAMES)
        self._last = None
        if state["last"] is not None:
            png = np.frombuffer(base64.b64decode(state["last"]), np.uint8)
            self._last = np.asarray(cv2.imdecode(png, cv2.IMREAD_GRAYSCALE), np.uint8)

    def _judge(self, grey: NDArray[np.uint8], stamp_ns: int) -> Verdict:
        sharp = float(cv2.Laplacian(grey, cv2.CV_32F).var())
        usual = float(np.median(self._sharpness)) if self._sharpness else sharp
        self._sharpness.append(sharp)
        if sharp < self.config.blur * usual:
            return "blurred"
        last, gap_s = self._last, (stamp_ns - self._last_ns) * 1e-9
        if last is None:
            return self._keep(grey, stamp_ns, "kept")
        if not 0 < gap_s <= self.config.max_gap_s:
            return self._keep(grey, stamp_ns, "gap")
        motion, residual = self._compare(last, grey)
        if residual > self.config.cut:
            return self._keep(grey, stamp_ns, "cut")
        if motion > self.config.max_motion:
            return self._keep(grey, stamp_ns, "too_far")
        if motion < self.config.min_motion:
            return "static"
        return self._keep(grey, stamp_ns, "kept")

    def _keep(self, grey: NDArray[np.uint8], stamp_ns: int, verdict: Verdict) -> Verdict:
        self._last, self._last_ns = grey, stamp_ns
        return verdict

    def _compare(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[float, float]:
        """Return the median length of the flow (share of the width), and the mean difference (0 to 1) after warping."""
        flow = self._flow.calc(first, second, None)
        height, width = first.shape
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        x, y = x + flow[..., 0], y + flow[..., 1]
        aligned = cv2.remap(second, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # The median change of brightness is subtracted, as it comes from exposure and not from another scene.
        difference = aligned.astype(np.float32) - first
        residual = float(np.abs(difference - np.median(difference)).mean()) / 255.0
        return float(np.median(np.hypot(flow[..., 0], flow[..., 1]))) / width, residual


def _small_grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height = max(round(image.shape[0] * MEASURED_WIDTH / image.shape[1]), 16)
    small: NDArray[np.uint8] = cv2.resize(grey, (MEASURED_WIDTH, height), interpolation=cv2.INTER_AREA)
    return small
