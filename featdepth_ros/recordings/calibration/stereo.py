"""Stereo partners: choice of the partner camera, pairing of its images with frames, and its pose."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError, RecordingError, nearest_name
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.calibration.files import CameraArgument

#: Name that requests an automatic choice of the partner.
AUTO = "auto"
#: Longest time between the two images of a pair in nanoseconds, also for slow recordings. Beyond half a period at the
#: usual 10 frames per second, a moving camera or object has moved too far.
LONGEST_GAP_NS = 50_000_000
#: The parts in which the names of the first and the second camera of a pair differ.
_COUNTERPARTS = (
    ("left", "right"),
    ("0", "1"),
    ("00", "01"),
    ("2", "3"),
    ("02", "03"),
    ("infra1", "infra2"),
    ("fisheye1", "fisheye2"),
)


@dataclass(frozen=True)
class PartnerRequest:
    """The requested partner: its name (or ``auto``) and, if given, its calibration."""

    name: str
    camera: CameraArgument = None


@dataclass(frozen=True)
class Rig:
    """The second camera of a pair.

    Attributes:
        name: name of the partner: a camera of a dataset, a topic or a folder.
        camera: calibration of the partner.
        T_partner_camera: (4, 4) float64, metres, between the rectified frames; see `Partner`.
    """

    name: str
    camera: CameraModel
    T_partner_camera: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not np.linalg.norm(self.T_partner_camera[:3, 3]) > 1e-4:
            raise CalibrationError(
                f"the calibrations put the partner '{self.name}' at the same position as the camera (baseline "
                f"{np.linalg.norm(self.T_partner_camera[:3, 3]):.2g} m); both may be of the same camera: give the "
                "partner's own (FILE#cam1 of a camchain)"
            )


def counterparts(name: str, names: Sequence[str]) -> dict[str, bool]:
    """Return the entries of ``names`` that differ from ``name`` as in the two cameras of a pair.

    The value tells whether ``name`` is the first (left) camera of the two.
    """
    matches: dict[str, bool] = {}
    for pair in _COUNTERPARTS:
        for old, new, first in ((*pair, True), (*pair[::-1], False)):
            # no digits beside the match: in 10, the 0 is not the number of a camera
            pattern = re.compile((r"(?<!\d)" if old[0].isdecimal() else "") + old + r"(?!\d)", re.IGNORECASE)
            spots = list(pattern.finditer(name))
            for replaced in ([spot] for spot in spots):
                _add_match(matches, _replaced(name, replaced, new), names, first)
            if len(spots) > 1:
                _add_match(matches, _replaced(name, spots, new), names, first)
    return matches


def _replaced(name: str, spots: Sequence[re.Match[str]], new: str) -> str:
    for spot in reversed(spots):
        old = spot.group()
        same_case = new.upper() if old.isupper() else new.title() if old[0].isupper() else new
        name = name[: spot.start()] + same_case + name[spot.end() :]
    return name


def _add_match(matches: dict[str, bool], other: str, names: Sequence[str], first: bool) -> None:
    if other in names:
        matches.setdefault(other, first)


def choose_partner(where: str, names: Sequence[str], camera: str, wanted: str) -> str:
    """Return the name of the partner camera.

    Args:
        where: the recording, for messages.
        names: cameras (or topics) of the recording.
        camera: the one whose frames are read.
        wanted: the name a caller gave, or ``auto``.

    Raises:
        RecordingError: it does not exist, is the camera itself, or ``auto`` finds none or several.
    """
    others = [name for name in names if name != camera]
    listing = ", ".join(others) or "none"
    if wanted == AUTO:
        matches = counterparts(camera, others)
        if len(matches) == 1:
            return next(iter(matches))
        reason = "several could be" if matches else "no camera is obviously"
        raise RecordingError(f"'{where}': {reason} the partner of '{camera}'; name it: {', '.join(matches) or listing}")
    if wanted == camera:
        raise RecordingError(f"'{where}': the partner '{wanted}' is the camera itself; the others are: {listing}")
    if wanted not in others:
        raise RecordingError(
            f"'{where}' has no camera '{wanted}' to be the partner of '{camera}'{nearest_name(wanted, others)}; "
            f"the others are: {listing}"
        )
    return wanted


def longest_gap_ns(rate_hz: float) -> int:
    """Return the longest time (nanoseconds) between the two images of a pair: half a frame period, at most 50 ms."""
    return min(LONGEST_GAP_NS, round(0.5e9 / rate_hz))


def pair_by_stamp(stamps_ns: Sequence[int], partner_stamps_ns: Sequence[int], most_ns: int) -> list[int | None]:
    """Return, for each stamp, the index of its partner stamp, or None.

    Two stamps are a pair when each is the nearest to the other, the earlier one at a tie. At most ``most_ns`` lie
    between them; so no partner is used twice. Neither list needs to be sorted or regular.
    """
    nearest_partner = _nearest(stamps_ns, partner_stamps_ns)
    nearest_frame = _nearest(partner_stamps_ns, stamps_ns)
    return [
        other
        if other is not None
        and nearest_frame[other] == index
        and abs(partner_stamps_ns[other] - stamps_ns[index]) <= most_ns
        else None
        for index, other in enumerate(nearest_partner)
    ]


def _nearest(stamps: Sequence[int], among: Sequence[int]) -> list[int | None]:
    order = sorted(range(len(among)), key=lambda i: (among[i], i))
    ascending = [among[i] for i in order]
    result: list[int | None] = []
    for stamp in stamps:
        after = bisect_left(ascending, stamp)
        before = bisect_left(ascending, ascending[after - 1]) if after else 0  # the first of equal ones
        near = [i for i in (before, after) if i < len(ascending)]
        result.append(order[min(near, key=lambda i: abs(ascending[i] - stamp))] if near else None)
    return result


def projection_offset(camera: NDArray[np.float64], partner: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return T_partner_camera (4, 4), metres, of a rectified pair from its two 3x4 projection matrices.

    Both matrices project the points of one common frame (KITTI's camera 0, the left camera of a ROS pair), so
    ``K^-1 P = [I | t]`` of each is its offset: a right camera has ``P[0, 3] = -fx * baseline``. None when both are
    zero, that is when the matrices know of no pair.
    """
    offset = np.linalg.solve(partner[:, :3], partner[:, 3]) - np.linalg.solve(camera[:, :3], camera[:, 3])
    if not np.linalg.norm(offset) > 1e-6:
        return None
    motion = np.eye(4)
    motion[:3, 3] = offset
    return motion


def between_rectified(
    T_partner_camera: NDArray[np.float64], camera: CameraModel, partner: CameraModel
) -> NDArray[np.float64]:
    """Return T_partner_camera (4, 4) between the rectified frames from the one between the cameras as mounted."""
    turn_camera, turn_partner = np.eye(4), np.eye(4)
    turn_camera[:3, :3], turn_partner[:3, :3] = camera.R, partner.R
    return np.asarray(turn_partner @ T_partner_camera @ turn_camera.T)


def as_mounted(T_partner_camera: NDArray[np.float64], camera: CameraModel, partner: CameraModel) -> NDArray[np.float64]:
    """Return T_partner_camera (4, 4) between the cameras as mounted; the inverse of `between_rectified`."""
    turn_camera, turn_partner = np.eye(4), np.eye(4)
    turn_camera[:3, :3], turn_partner[:3, :3] = camera.R, partner.R
    return np.asarray(turn_partner.T @ T_partner_camera @ turn_camera)


def within(rate_hz: float) -> str:
    """Return the time limit for pairs as text, for notes."""
    return f"within {longest_gap_ns(rate_hz) / 1e6:.3g} ms"


def unpaired_note(name: str, unpaired: int, frames: int, how: str) -> str:
    """Return the note about frames without a partner image."""
    return f"{unpaired} of {frames} frames have no image of {name} {how}, so they have no partner"
