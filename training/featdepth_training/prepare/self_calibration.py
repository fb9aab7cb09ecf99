"""Estimates the focal length of an uncalibrated camera from the motion of its images.

Two views have a fundamental matrix, whatever the camera. With the right focal length it becomes an essential matrix, of
two equal singular values. Source of the criterion: Mendonca and Cipolla, A Simple Technique for Self-Calibration (CVPR
1999). Each pair of frames votes. Pairs of straight motion have no information, so that their votes do not agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.recordings.recording import Recording

#: Number of used frames, their largest width in pixels, distances of pairs in frames, number of pairs per distance.
FRAMES, WIDTH, GAPS, PAIRS = 240, 320, (2, 4, 7), 14
#: Tested focal lengths, in image widths.
FOCALS = np.geomspace(0.35, 2.5, 160)
#: Least number of votes, and largest ratio of the upper to the lower quartile of the focal lengths.
LEAST_PAIRS, AGREEMENT = 10, 1.2
#: Largest error in pixels of flow in both directions, largest distance from epipolar lines, least texture of a match.
NEAR_PX, TEXTURE = 0.5, 30.0
#: Least median flow of a pair, pixels; matches of a pair; share of them that one motion must explain.
LEAST_FLOW_PX, MATCHES, LEAST_SHARE = 3.0, 1500, 0.5

Grey = NDArray[np.uint8]


def focal_of(recording: Recording) -> float | None:
    """Return the focal length in image widths; None if it cannot be determined."""
    return focal_from_frames(list(_greys(recording)))


def focal_from_frames(greys: Sequence[Grey]) -> float | None:
    """Return as `focal_of`, from consecutive frames (H, W) uint8 of one camera without much distortion."""
    votes = []
    for gap in GAPS:
        if len(greys) > gap:
            for first in np.unique(np.linspace(0, len(greys) - 1 - gap, PAIRS).astype(int)):
                vote = _vote(greys[first], greys[first + gap])
                if vote is not None:
                    votes.append(vote)
    if len(votes) < LEAST_PAIRS:
        return None
    low, middle, high = np.percentile(votes, [25, 50, 75])
    return float(middle) if high <= AGREEMENT * low else None


def _greys(recording: Recording) -> Iterator[Grey]:
    for frame in islice(iter(recording), FRAMES):
        grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
        height, width = grey.shape
        if width > WIDTH:
            grey = cv2.resize(grey, (WIDTH, round(height * WIDTH / width)), interpolation=cv2.INTER_AREA)
        yield np.asarray(grey, np.uint8)


def _vote(earlier: Grey, later: Grey) -> float | None:
    """Return the focal length in widths that gives an essential matrix for this pair; None if it is undetermined."""
    matched = _matches(earlier, later)
    if matched is None:
        return None
    try:
        F, agrees = cv2.findFundamentalMat(*matched, cv2.USAC_MAGSAC, NEAR_PX, 0.999, 2000)
    except cv2.error:  # OpenCV raises this when it finds no model at all
        return None
    if F is None or F.shape != (3, 3) or agrees.mean() < LEAST_SHARE:
        return None
    width = earlier.shape[1]
    K = np.zeros((len(FOCALS), 3, 3))
    K[:, 0, 0] = K[:, 1, 1] = FOCALS * width
    K[:, 2, 2] = 1.0
    values = np.linalg.svd(K @ F @ K, compute_uv=False)
    unequal = (values[:, 0] - values[:, 1]) / (values[:, 0] + values[:, 1])
    best = int(unequal.argmin())
    return None if best in (0, len(FOCALS) - 1) else float(FOCALS[best])


def _matches(earlier: Grey, later: Grey) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return matches (N, 2) of both frames, in pixels from the centre; None if there are too few."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(0)
    there, back = flow.calc(earlier, later, None), flow.calc(later, earlier, None)
    height, width = earlier.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    u, v = x + there[..., 0], y + there[..., 1]
    outside = (1e3, 1e3, 0, 0)
    returned = cv2.remap(back, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=outside)
    known = np.hypot(*np.moveaxis(there + returned, 2, 0)) < NEAR_PX
    known &= cv2.GaussianBlur(cv2.Laplacian(earlier, cv2.CV_32F) ** 2, (0, 0), 2) > TEXTURE
    if known.mean() < 0.1 or np.median(np.hypot(there[known, 0], there[known, 1])) < LEAST_FLOW_PX:
        return None
    centre = np.array([(width - 1) / 2, (height - 1) / 2], np.float32)
    first, second = np.stack((x, y), -1)[known] - centre, np.stack((u, v), -1)[known] - centre
    some = np.random.default_rng(0).choice(len(first), min(MATCHES, len(first)), replace=False)
    return first[some], second[some]
