"""Reads and writes pose files of KITTI, TUM and EuRoC.

KITTI has one line per frame with 12 numbers, row-major [R|t], or with a frame number and 12 numbers. Lines of 16
numbers with the last row 0 0 0 1 (Replica) are read, too. TUM has ``seconds x y z qx qy qz qw``. EuRoC's state table
has ``ns,x,y,z,qw,qx,qy,qz,...``. Further columns are ignored. A pose maps the body's coordinates to the world's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.recordings.datasets import tables

PoseFormat = Literal["kitti", "tum", "euroc"]
#: Largest entry of R R^T - I of a matrix that is accepted as a rotation.
_RIGID_TOLERANCE = 1e-2
#: Farthest that the norm of a quaternion may be from 1.
_UNIT_TOLERANCE = 0.1

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
        poses: (N, 4, 4) float64 T_world_body as in the file; KITTI rotations are not checked.
        stamped: whether the keys are stamps.
        problems: a sentence for each line that was left out.
    """

    keys: NDArray[np.int64]
    poses: NDArray[np.float64]
    stamped: bool
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def ascending(self) -> tuple[list[int], list[NDArray[np.float64]]]:
        """Return keys and (4, 4) poses in ascending order of keys."""
        order = np.argsort(self.keys, kind="stable")
        return [int(key) for key in self.keys[order]], list(self.poses[order])


def read_pose_file(path: Path, expected: PoseFormat | None = None, skip_bad: bool = False) -> PoseTable:
    """Read a pose file. A heading, ``#`` comments and empty lines are left out.

    The format is detected by the content. Lines of 12 or 13 numbers with valid rotations are KITTI's; others are
    stamped. The unit of stamps follows from their size; integers in comma-separated files are nanoseconds. The order of
    quaternions follows from a heading that names ``qw``. Without one it is EuRoC's for comma-separated nanoseconds,
    else TUM's.

    Args:
        path: path of the file.
        expected: format of the file, if it is known.
        skip_bad: leave out invalid lines and list them in `PoseTable.problems` instead of raising an error.

    Raises:
        RecordingError: the file is no text, has no pose, has lines of different lengths, or has an invalid value.
    """
    table = _table(path)
    width = len(table.lines[0][1])
    kind = expected or _format(table, width)
    fits = width in (12, 13) if kind == "kitti" else kind is not None and width >= 8
    if kind is None or not fits:
        wanted = ", ".join(_LINES_OF.values()) if expected is None else _LINES_OF[expected]
        raise RecordingError(f"{path} has {width} numbers a line; expected {wanted}")
    unit = _unit(table, kind)
    wxyz = table.wxyz if table.wxyz is not None else kind == "euroc"
    keys, poses, problems = [], [], []
    for position, (number, fields) in enumerate(table.lines):
        try:
            if len(fields) < 8 or (len(fields) != width and (kind == "kitti" or not skip_bad)):
                raise RecordingError(
                    f"{path}: line {number} has {len(fields)} numbers, line {table.lines[0][0]} has {width}; "
                    "expected the same number on each (is the file truncated?)"
                )
            if kind == "kitti":
                key, pose = _kitti_line(path, number, fields, position, check=skip_bad)
            else:
                key = tables.parse_stamp_ns(fields[0], path, number, unit)
                pose = _position_and_quaternion(path, number, fields[1:8], wxyz)
        except RecordingError as error:
            if not skip_bad:
                raise
            problems.append(str(error))
            continue
        keys.append(key)
        poses.append(pose)
    if not poses:
        raise RecordingError(problems[0])
    values = np.array(poses, dtype=np.float64)
    matrices = (
        values.reshape(-1, 3, 4) if kind == "kitti" else poses_from_quaternions(path, values[:, :3], values[:, 3:])
    )
    whole = np.tile(np.eye(4), (len(keys), 1, 1))
    whole[:, :3] = matrices[:, :3]
    return PoseTable(np.array(keys, dtype=np.int64), whole, kind != "kitti", tuple(problems))


def read_truth(path: Path, expected: PoseFormat) -> tuple[PoseTable | None, str]:
    """Read a dataset's table of true poses; an unreadable one is no error, because the images can be used without.

    Returns:
        (table, note): the table is None if it has no pose. The note says what was left out; empty: nothing.
    """
    try:
        table = read_pose_file(path, expected, skip_bad=True)
    except RecordingError as error:
        return None, f"the true poses are not used: {error}"
    if not table.problems:
        return table, ""
    return table, f"{len(table.problems)} lines of true poses are left out, the first: {table.problems[0]}"


def read_times(path: Path) -> NDArray[np.int64]:
    """Return the stamps (nanoseconds) of a KITTI ``times.txt``: seconds at the start of each line.

    Raises:
        RecordingError: the file cannot be read, or a line does not start with a number.
    """
    stamps = [tables.parse_stamp_ns(fields[0], path, line) for line, fields in tables.rows(path)]
    return np.array(stamps, dtype=np.int64)


def poses_from_quaternions(
    source: str | Path, positions: ArrayLike, quaternions_xyzw: ArrayLike
) -> NDArray[np.float64]:
    """Return (N, 4, 4) poses of (N, 3) positions and (N, 4) quaternions.

    Raises:
        RecordingError: a quaternion is not finite, or its norm differs from 1 by more than 10 %; names ``source``.
    """
    xyz, xyzw = np.asarray(positions, dtype=np.float64), np.asarray(quaternions_xyzw, dtype=np.float64)
    norms = np.linalg.norm(xyzw, axis=1)
    bad = ~(np.abs(norms - 1) <= _UNIT_TOLERANCE)
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
    """Return the text of a KITTI pose file of (4, 4) poses, with ``digits`` digits after the decimal point."""
    return "".join(" ".join(f"{value:.{digits}e}" for value in pose[:3].reshape(-1)) + "\n" for pose in poses)


def tum_text(stamps_ns: Sequence[int], poses: Sequence[NDArray[np.float64]], comment: str) -> str:
    """Return the text of a TUM pose file; ``poses`` are (4, 4), ``comment`` is its first line without the ``#``."""
    lines = [f"# {comment}\n"]
    for stamp, pose in zip(stamps_ns, poses, strict=True):
        numbers = " ".join(f"{value:.9f}" for part in se3.to_quaternion(pose) for value in part)
        lines.append(f"{tables.seconds_text(stamp)} {numbers}\n")
    return "".join(lines)


def euroc_text(stamps_ns: Sequence[int], poses: Sequence[NDArray[np.float64]]) -> str:
    """Return the text of a EuRoC state table; ``poses`` are (4, 4), velocities are differences, biases are zero."""
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


@dataclass(frozen=True)
class _Lines:
    """Data lines of a file as (line number, fields), whether commas separate them, and the heading's quaternion order.

    The order is True for qw first, False for qw last, None if the heading does not name it.
    """

    lines: list[tuple[int, list[str]]]
    commas: bool
    wxyz: bool | None


def _table(path: Path) -> _Lines:
    lines: list[tuple[int, list[str]]] = []
    commas, wxyz = False, None
    for number, text in enumerate(tables.lines(path), start=1):
        fields = re.split(r"[\s,;]+", text.strip(",; "))
        if text and not text.startswith("#") and (lines or _is_number(fields[0])):
            commas = commas or "," in text
            lines.append((number, fields))
        elif text and not lines:  # a heading, with or without '#'
            wxyz = _stated_order(text) if _stated_order(text) is not None else wxyz
    if not lines:
        raise RecordingError(f"{path} holds no pose; expected lines of KITTI (12 numbers), TUM (8) or EuRoC csv")
    return _Lines(_without_last_row(lines), commas, wxyz)


def _without_last_row(lines: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Drop the last row if all lines are row-major 4x4 matrices with the last row 0 0 0 1; else return the lines."""
    for _, fields in lines:
        if len(fields) != 16 or not all(_is_number(field) for field in fields):
            return lines
        matrix = np.reshape([float(field) for field in fields], (4, 4))
        if matrix[3].tolist() != [0.0, 0.0, 0.0, 1.0] or not _is_rotation(matrix[:3, :3]):
            return lines
    return [(number, fields[:12]) for number, fields in lines]


def _stated_order(heading: str) -> bool | None:
    """Return True if a heading names qw before qx, False if after it, None if it does not name both."""
    names = re.findall(r"\bq(?:_?[a-z]{2})?[_.]?([wxyz])\b", heading, flags=re.IGNORECASE)
    letters = "".join(names).lower()
    return letters.startswith("w") if letters in ("wxyz", "xyzw") else None


def _format(table: _Lines, width: int) -> PoseFormat | None:
    if width in (12, 13) and _mostly_rotations(table, width):
        return "kitti"
    if width < 8:
        return None
    return "euroc" if table.commas and _unit(table, "euroc") == tables.NANOSECOND else "tum"


def _mostly_rotations(table: _Lines, width: int) -> bool:
    """Return whether most lines of 12 or 13 numbers are [R|t]; otherwise they may be stamped poses."""
    rows = []
    for _, fields in table.lines[:200]:
        try:
            rows.append([float(field) for field in fields[width - 12 : width]])
        except ValueError:
            continue
    good = sum(_is_rotation(np.reshape(row, (3, 4))[:, :3]) for row in rows if len(row) == 12)
    return 2 * good >= len(rows) or not _mostly_unit_quaternions(table)


def _mostly_unit_quaternions(table: _Lines) -> bool:
    good = 0
    for _, fields in table.lines[:200]:
        try:
            good += abs(float(np.linalg.norm([float(field) for field in fields[4:8]])) - 1.0) <= _UNIT_TOLERANCE
        except ValueError:
            continue
    return 2 * good > len(table.lines[:200])


def _is_rotation(matrix: NDArray[np.float64]) -> bool:
    close = np.isfinite(matrix).all() and np.allclose(matrix @ matrix.T, np.eye(3), atol=_RIGID_TOLERANCE)
    return bool(close and np.linalg.det(matrix) > 0)


def _unit(table: _Lines, kind: PoseFormat) -> Decimal:
    stamps = [fields[0] for _, fields in table.lines]
    unit = tables.stamp_unit(stamps)
    whole = table.commas and all("." not in text and "e" not in text.lower() for text in stamps)
    if kind == "euroc" and whole and unit in (tables.SECOND_NS, tables.MILLISECOND_NS):
        return tables.NANOSECOND  # the unit of the format; small values count from the start of a simulation
    return unit


def _kitti_line(path: Path, number: int, fields: Sequence[str], position: int, check: bool) -> tuple[int, list[float]]:
    """Return (frame, 12 numbers); with ``check``, a pose that is no rigid motion raises RecordingError."""
    values = _values(path, number, fields)
    key = position
    if len(values) == 13:
        if values[0] != round(values[0]):
            raise RecordingError(f"{path}: lines of 13 numbers must begin with a whole frame number")
        key, values = int(values[0]), values[1:]
    pose = np.reshape(values, (3, 4))
    if check and not (np.isfinite(pose).all() and _is_rotation(pose[:, :3])):
        raise RecordingError(f"{path}, line {number}: the pose is not a finite rotation and translation")
    return key, values


def _position_and_quaternion(path: Path, number: int, fields: Sequence[str], wxyz: bool) -> list[float]:
    """Return x y z qx qy qz qw."""
    values = _values(path, number, fields)
    if not all(math.isfinite(value) for value in values):
        raise RecordingError(f"{path}: the pose in line {number} holds NaN or infinity; remove this line")
    norm = math.hypot(*values[3:])
    if abs(norm - 1.0) > _UNIT_TOLERANCE:
        raise RecordingError(
            f"{path}: the quaternion in line {number} is far from unit length, its norm is {norm:.3g}; "
            "expected unit quaternions (TUM: x y z w last; EuRoC: w x y z)"
        )
    return [*values[:3], *values[4:], values[3]] if wxyz else values


def _values(path: Path, number: int, fields: Sequence[str]) -> list[float]:
    try:
        return [float(field) for field in fields]
    except ValueError as error:
        wrong = next(field for field in fields if not _is_number(field))
        raise RecordingError(f"{path}, line {number}: '{wrong}' is no number") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
