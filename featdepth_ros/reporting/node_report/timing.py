"""Rate, latency and missed frames of a recording, computed from stamps alone. It needs only numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.reporting.node_report.bag import Stamps

_PERCENTILES = (50, 95, 99)
#: Above this difference, the header stamps of results are not from the recorder's clock.
_ONE_CLOCK_NS = 60_000_000_000
#: Largest age of an image by the recorder's clock at which its stamp is taken for one of that clock. Exposure, driver
#: and transport of a live camera take less. Images of a played recording are older, and their age is not a latency.
_LIVE_IMAGE_NS = 100_000_000


def frame_rate(stamps: Stamps) -> tuple[float | None, float | None]:
    """Return seconds from the first to the last message by recording time, and messages per second; None if unknown."""
    if len(stamps) < 2:
        return None, None
    seconds = float(np.ptp(stamps.log_ns)) * 1e-9
    return seconds, (len(stamps) - 1) / seconds if seconds > 0 else None


def latencies(frames: Stamps, images: Stamps | None) -> tuple[NDArray[np.float64], str]:
    """Return (N,) milliseconds and how they were measured.

    ``stamp``: recording time minus header stamp. ``image``: recording time minus that of the image with the same stamp.
    The latter is for recordings whose stamps come from another clock than the recorder's. An image that is old when it
    is published reveals such a recording. The result is empty if neither is possible.
    """
    if not len(frames):
        return np.zeros(0), ""
    age = frames.log_ns - frames.header_ns
    if _is_live(images) and 0 <= np.median(age) < _ONE_CLOCK_NS and np.any(age):
        return age.astype(np.float64) * 1e-6, "stamp"
    if images is None or not len(images):
        return np.zeros(0), ""
    unique, first = np.unique(images.header_ns, return_index=True)
    index = np.clip(np.searchsorted(unique, frames.header_ns), 0, len(unique) - 1)
    same = unique[index] == frames.header_ns
    if not same.any():
        return np.zeros(0), ""
    delay = frames.log_ns[same] - images.log_ns[first[index[same]]]
    return delay.astype(np.float64) * 1e-6, "image"


def _is_live(images: Stamps | None) -> bool:
    """Return whether images were published at the time of their stamps; without images, this is assumed."""
    return images is None or not len(images) or 0 <= np.median(images.log_ns - images.header_ns) < _LIVE_IMAGE_NS


def missed_frames(frames: Stamps, images: Stamps | None) -> int | None:
    """Count the images between the first and the last frame that have no frame of the same stamp; None if unknown."""
    if images is None or not len(frames):
        return None
    stamps = np.unique(images.header_ns)
    between = stamps[(stamps >= frames.header_ns.min()) & (stamps <= frames.header_ns.max())]
    return int((~np.isin(between, frames.header_ns)).sum())


def percentiles(values: NDArray[np.float64]) -> dict[str, float] | None:
    """Return p50, p95 and p99 of (N,) values; None without values."""
    if not values.size:
        return None
    return {f"p{p}": float(v) for p, v in zip(_PERCENTILES, np.percentile(values, _PERCENTILES), strict=True)}
