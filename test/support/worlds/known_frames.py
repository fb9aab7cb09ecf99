"""Frames with known values, for tests of writers and readers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings import Frame

START_NS = 1_700_000_000_123_456_789
STEP_NS = 50_000_001
CAMERA = CameraModel(64, 48, 50.0, 51.0, 31.5, 23.5)


def pose(index: int, right_m: float = 0.0) -> NDArray[np.float64]:
    """Return the pose of frame ``index``, 0.1 m forward and 0.02 rad right per frame, with an offset ``right_m``."""
    angle = 0.02 * index
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    matrix[:3, 3] = [3.0, -1.0, 0.1 * index]
    matrix[:3, 3] += matrix[:3, :3] @ [right_m, 0.0, 0.0]
    return matrix


def frame(index: int, camera: CameraModel | None = CAMERA, right_m: float = 0.0) -> Frame:
    """Return frame ``index`` with seeded noise, and depth ``2 + index`` metres with one unknown pixel."""
    rng = np.random.default_rng([index, round(1000 * right_m)])
    depth = np.full((48, 64), 2.0 + index, np.float32)
    depth[0, 0] = np.nan
    image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return Frame(image, START_NS + index * STEP_NS, f"{index:06d}", camera, depth, pose(index, right_m))


def frames(count: int = 6, **options: Any) -> Iterator[Frame]:
    """Yield ``count`` frames, one at a time."""
    for index in range(count):
        yield frame(index, **options)
