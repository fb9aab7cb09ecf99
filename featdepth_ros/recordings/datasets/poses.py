"""Interpolation of poses by stamp."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3


def interpolate(
    stamps_ns: Sequence[int], poses: Sequence[NDArray[np.float64]], at_ns: int, most_ns: int
) -> NDArray[np.float64] | None:
    """Return the (4, 4) pose at a stamp; None outside the known stamps, or in a gap that is too long.

    Args:
        stamps_ns: known stamps in ascending order, nanoseconds.
        poses: (4, 4) known poses; positions are interpolated linearly, rotations along the shortest arc.
        at_ns: the requested stamp, nanoseconds.
        most_ns: longest gap between two known poses that is bridged, nanoseconds.
    """
    after = bisect_left(stamps_ns, at_ns)
    if after < len(stamps_ns) and stamps_ns[after] == at_ns:
        return poses[after]
    if after == 0 or after == len(stamps_ns) or stamps_ns[after] - stamps_ns[after - 1] > most_ns:
        return None
    share = (at_ns - stamps_ns[after - 1]) / (stamps_ns[after] - stamps_ns[after - 1])
    return se3.interpolate(poses[after - 1], poses[after], share)
