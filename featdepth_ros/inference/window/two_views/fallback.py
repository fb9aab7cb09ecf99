"""Checks the pose network's motion against the image.

The window uses the check at a map's first pair, and if its own tracking fails. Without a window, every motion of the
network is checked.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window import tracks
from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.frame import Frame

Floats = NDArray[np.float64]
#: T_previous_current (4, 4) and its covariance (6, 6), or a function that returns them, or None.
NetworkMotion = tuple[Floats, Floats] | Callable[[], tuple[Floats, Floats] | None] | None

#: Number of corners to check; least share and number of them that must be found at the predicted position.
CORNERS, SHARE, LEAST = 200, 0.3, 20
#: Largest distance from the predicted position: pixels, or as a share of the corner's displacement.
NEAR_PX, NEAR_SHARE = 4.0, 0.15


def corners_on_trial(earlier: Frame) -> Floats:
    """Return the corners (n, 2) of a frame that `explains` searches in the next one, pixels."""
    return tracks.corners(earlier.pyramid[0], np.zeros((0, 2)), CORNERS, earlier.allowed)


def explains(
    T_previous_current: Floats,
    earlier: Frame,
    newest: Frame,
    config: WindowConfig,
    near_share: float = NEAR_SHARE,
    untold: bool = False,
    start: Floats | None = None,
) -> bool:
    """Return whether corners of the earlier frame are found where the motion and the network's depth predict them.

    Args:
        T_previous_current: (4, 4) motion by the pose network, unit of the depth.
        earlier: the previous frame.
        newest: the newest frame.
        config: settings with the range of depth.
        near_share: largest prediction error, as a share of a corner's displacement.
        untold: the result with too few corners for a decision.
        start: corners of the earlier frame by `corners_on_trial`; None: they are detected here.
    """
    if not np.isfinite(T_previous_current).all():
        return False
    start = corners_on_trial(earlier) if start is None else start
    network = earlier.depth_at(start, config.min_depth, config.max_depth)
    if network is None or len(start) < LEAST:
        return untold
    camera = earlier.camera
    focal, centre = np.array([camera.fx, camera.fy]), np.array([camera.cx, camera.cy])
    rays = np.concatenate([(start - centre) / focal, np.ones((len(start), 1))], axis=1)
    T = se3.inverse(T_previous_current)
    seen = rays @ T[:3, :3].T + T[:3, 3] / network[0][:, None]
    expected = seen[:, :2] / np.maximum(seen[:, 2:], 1e-6) * focal + centre
    ahead = (seen[:, 2] > 0.1) & tracks.inside(expected, newest.size)
    if ahead.sum() < LEAST:
        return untold
    start, expected = start[ahead], expected[ahead]
    warp = np.tile(np.eye(2), (len(start), 1, 1))
    pixels, good = tracks.follow(earlier.pyramid, newest.pyramid, start, expected, warp, newest.allowed)
    allowed = np.maximum(NEAR_PX, near_share * np.linalg.norm(expected - start, axis=1))
    near = good & (np.linalg.norm(pixels - expected, axis=1) < allowed)
    return bool(near.sum() >= max(LEAST, SHARE * len(start)))


def explained_motion(
    network: NetworkMotion, earlier: Frame, newest: Frame, config: WindowConfig
) -> tuple[Floats, Floats] | None:
    """Return the pose network's motion and its covariance if `explains` accepts the motion, else None."""
    motion = network() if callable(network) else network
    return motion if motion is not None and explains(motion[0], earlier, newest, config) else None
