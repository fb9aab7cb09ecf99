"""Pose files of KITTI, TUM and EuRoC: the one place that reads and writes them.

KITTI has 12 numbers a line, row-major [R|t], one line a frame, or a frame number and 12. TUM has ``seconds x y z qx qy
qz qw``. EuRoC's state table has ``ns,x,y,z,qw,qx,qy,qz,...``. A pose maps the body's coordinates to the world's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.recordings.datasets import tables

PoseFormat = Literal["kitti", "tum", "euroc"]

_LINES_OF: dict[PoseFormat, str] = {
    "kitti": "KITTI (12, or 13 with a frame number first)",
    "tum": "TUM (8: stamp x y z qx qy qz qw)",
    "euroc": "EuRoC csv (stamp_ns,x,y,z,qw,qx,qy,qz,...)",
}
_STATE_HEADER = (
    "#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z [], "
    "v_RS_R_x [m s^-1], v_RS_R_y [m s^-1], v_RS_R_z [m s^-1], b_w_RS_S_x [rad s^-1], b_w_RS_S_y [rad s^-1], "
    "b_w_RS_S_z [rad s^-1], b_a_RS_S_x [m s^-2], b_a_RS_S_y [m s^-2], b_a_RS_S_z [m s^-2]\n"
)


@dataclass(frozen=True)
class PoseTable:
    """The poses of a file, in the order of its lines.

    Attributes:
        keys: (N,) int64 stamps in nanoseconds, or KITTI's frame numbers.
        poses: (N, 4, 4) float64 T_world_body as they are written; a KITTI rotation is not checked.
        stamped: the keys are stamps.
    """

    keys: NDArray[np.int64]
    poses: NDArray[np.float64]
    stamped: bool

    def __len__(self) -> int:
        return len(self.keys)

    def ascending(self) -> tuple[list[int], list[NDArray[np.float64]]]:
        """Return keys and (4, 4) poses in ascending order of keys."""
        order = np.argsort(self.keys, kind="stable")
        return [int(key) for key in self.keys[order]], list(self.poses[order])


def read_pose_file(path: Path, expected: PoseFormat | None = None) -> PoseTable:
    """Read a pose file. A heading, ``#`` comments and empty lines are left out.

    Args:
        path: of the file.
        expected: its format; None tells it by commas and the number of columns.

    Raises:
        RecordingError: no text, no pose, lines of another kind or length, or values that are none.
    """
    lines, numbers, commas = _columns(path)
    width = len(lines[0])
    kind = expected or _format(width, commas)
    fits = width in (12, 13) if kind == "kitti" else kind is not None and width >= 8
    if kind is None or not fits:
        wanted = ", ".join(_LINES_OF.values()) if expected is None else _LINES_OF[expected]
        raise RecordingError(f"{path} has {width} numbers a line; expected {wanted}")
    if kind == "kitti":
        return _kitti_table(path, _values(path, lines, numbers))
    unit = tables.NANOSECOND if kind == "euroc" else tables.SECOND_NS
    stamps = [tables.parse_stamp_ns(fields[0], path, line, unit) for line, fields in zip(numbers, lines, strict=True)]
    values = _values(path, [fields[1:8] for fields in lines], numbers)
    bad: NDArray[np.bool_] = np.logical_not(np.isfinite(values).all(axis=1))
    if bad.any():
        raise RecordingError(
            f"{path}: {int(bad.sum())} of {len(bad)} poses hold NaN or infinity, the first in line "
            f"{numbers[int(np.argmax(bad))]}; remove these lines"
        )
    quaternions = values[:, [4, 5, 6, 3]] if kind == "euroc" else values[:, 3:]
    poses = poses_from_quaternions(path, values[:, :3], quaternions)
    return PoseTable(np.array(stamps, dtype=np.int64), poses, stamped=True)


def read_times(path: Path) -> NDArray[np.int64]:
    """Return the stamps (nanoseconds) of a KITTI ``times.txt``: seconds at the start of each line.

    Raises:
        RecordingError: the file cannot be read, or a line starts with no number.
    """
    stamps = [tables.parse_stamp_ns(fields[0], path, line) for line, fields in tables.rows(path)]
    return np.array(stamps, dtype=np.int64)


def poses_from_quaternions(
    source: str | Path, positions: ArrayLike, quaternions_xyzw: ArrayLike
) -> NDArray[np.float64]:
    """Return (N, 4, 4) poses of (N, 3) positions and (N, 4) quaternions.

    Raises:
        RecordingError: a quaternion that is not finite, or whose norm is more than 10 % from 1; names ``source``.
    """
    xyz, xyzw = np.asarray(positions, dtype=np.float64), np.asarray(quaternions_xyzw, dtype=np.float64)
    norms = np.linalg.norm(xyzw, axis=1)
    bad = ~(np.abs(norms - 1) <= 0.1)
    if bad.any():
        first = int(np.argmax(bad))
        raise RecordingError(
            f"{source}: {int(bad.sum())} quaternions are far from unit length, first pose {first} with norm "
            f"{norms[first]:.3g}; expected unit quaternions (TUM: x y z w last; EuRoC: w x y z)"
        )
    poses = np.tile(np.eye(4), (len(xyz), 1, 1))
    poses[:, :3, :3] = se3.matrix_from_quaternion(xyzw)
    poses[:, :3, 3] = xyz
    return poses


def kitti_text(poses: Sequence[NDArray[np.float64]], digits: int = 12) -> str:
    """Return a KITTI pose file of (4, 4) poses, with so many digits behind the point."""
    return "".join(" ".join(f"{value:.{digits}e}" for value in pose[:3].reshape(-1)) + "\n" for pose in poses)


def tum_text(stamps_ns: Sequence[int], poses: Sequence[NDArray[np.float64]], comment: str) -> str:
    """Return a TUM pose file of stamps and (4, 4) poses; ``comment`` is its first line, without the ``#``."""
    lines = [f"# {comment}\n"]
    for stamp, pose in zip(stamps_ns, poses, strict=True):
        numbers = " ".join(f"{value:.9f}" for part in se3.to_quaternion(pose) for value in part)
        lines.append(f"{tables.seconds_text(stamp)} {numbers}\n")
    return "".join(lines)


def euroc_text(stamps_ns: Sequence[int], poses: Sequence[NDArray[np.float64]]) -> str:
    """Return a EuRoC state table of stamps and (4, 4) poses; velocities are differences, biases are zero."""
    lines = [_STATE_HEADER]
    previous: tuple[int, NDArray[np.float64]] | None = None
    for stamp, pose in zip(stamps_ns, poses, strict=True):
        position, (x, y, z, w) = se3.to_quaternion(pose)
        velocity = np.zeros(3)
        if previous is not None and stamp > previous[0]:
            velocity = (position - previous[1]) / ((stamp - previous[0]) * 1e-9)
        previous = (stamp, position)
        values = (*position, w, x, y, z, *velocity, *np.zeros(6))
        lines.append(f"{stamp}," + ",".join(f"{value:.9g}" for value in values) + "\n")
    return "".join(lines)


def _columns(path: Path) -> tuple[list[list[str]], list[int], bool]:
    """Return the fields of the data lines, the lines' numbers in the file, and whether commas part the fields."""
    lines: list[list[str]] = []
    numbers: list[int] = []
    commas = False
    for number, fields in tables.rows(path):
        if not lines and not _is_number(fields[0].split(",")[0]):
            continue  # a csv's heading without '#'
        commas = any("," in field for field in fields)
        lines.append(" ".join(fields).replace(",", " ").split())
        numbers.append(number)
    if not lines:
        raise RecordingError(f"{path} holds no pose; expected lines of KITTI (12 numbers), TUM (8) or EuRoC csv")
    for number, fields in zip(numbers, lines, strict=True):
        if len(fields) != len(lines[0]):
            raise RecordingError(
                f"{path}: line {number} has {len(fields)} numbers, line {numbers[0]} has {len(lines[0])}; "
                "expected the same number on each (is the file cut short?)"
            )
    return lines, numbers, commas


def _format(width: int, commas: bool) -> PoseFormat | None:
    if width in (12, 13):
        return "kitti"
    if commas and width >= 8:
        return "euroc"
    return "tum" if width == 8 else None


def _kitti_table(path: Path, values: NDArray[np.float64]) -> PoseTable:
    keys = np.arange(len(values), dtype=np.int64)
    if values.shape[1] == 13:
        if not np.array_equal(values[:, 0], np.round(values[:, 0])):
            raise RecordingError(f"{path}: lines of 13 numbers must begin with a whole frame number")
        keys, values = values[:, 0].astype(np.int64), values[:, 1:]
    poses = np.tile(np.eye(4), (len(values), 1, 1))
    poses[:, :3] = values.reshape(-1, 3, 4)
    return PoseTable(keys, poses, stamped=False)


def _values(path: Path, lines: Sequence[Sequence[str]], numbers: Sequence[int]) -> NDArray[np.float64]:
    try:
        return np.array(lines, dtype=np.float64)
    except ValueError as error:
        for number, fields in zip(numbers, lines, strict=True):
            wrong = next((field for field in fields if not _is_number(field)), None)
            if wrong is not None:
                raise RecordingError(f"{path}, line {number}: '{wrong}' is no number") from error
        raise


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
