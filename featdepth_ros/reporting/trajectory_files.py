"""Trajectories from files: KITTI, TUM, EuRoC csv, and bags through the recordings room."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.errors import EvaluationError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.metrics import Trajectory, make_trajectory

#: Where a folder keeps its trajectory: `featdepth infer` and KITTI, TUM RGB-D, EuRoC.
_IN_FOLDERS = (
    "trajectory.tum.txt",
    "poses.txt",
    "groundtruth.txt",
    "state_groundtruth_estimate0/data.csv",
    "mav0/state_groundtruth_estimate0/data.csv",
)
#: What `featdepth infer` writes beside its trajectories: the covariance of each motion.
COVARIANCE_FILE = "trajectory.covariance.npy"
_NANOSECONDS = Decimal(1_000_000_000)


def poses_of(source: str | Path, positions: ArrayLike, quaternions_xyzw: ArrayLike) -> NDArray[np.float64]:
    """Return (N, 3, 4) poses of (N, 3) positions and (N, 4) quaternions.

    Raises:
        EvaluationError: a quaternion that is not finite, or whose norm is more than 10 % from 1; names ``source``.
    """
    xyz, xyzw = np.asarray(positions, dtype=np.float64), np.asarray(quaternions_xyzw, dtype=np.float64)
    norms = np.linalg.norm(xyzw, axis=1)
    bad = ~(np.abs(norms - 1) <= 0.1)
    if bad.any():
        first = int(np.argmax(bad))
        raise EvaluationError(
            f"{source}: {int(bad.sum())} quaternions are far from unit length, first pose {first} with norm "
            f"{norms[first]:.3g}; expected unit quaternions (TUM: x y z w last; EuRoC: w x y z)"
        )
    return np.concatenate([se3.matrix_from_quaternion(xyzw), xyz[:, :, None]], axis=2)


def _numbers_of_lines(path: Path) -> tuple[list[list[str]], bool]:
    """Data lines split into words, and whether commas separate them."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path} cannot be read as text: {error}") from error
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    rows = [line.replace(",", " ").split() for line in lines]
    if rows and not _is_number(rows[0][0]):
        rows = rows[1:]  # a csv's heading without '#'
    if not rows:
        raise EvaluationError(f"{path} holds no pose; expected lines of KITTI (12 numbers), TUM (8) or EuRoC csv")
    widths = sorted({len(row) for row in rows})
    if len(widths) > 1:
        odd = next(i for i, row in enumerate(rows) if len(row) != len(rows[0]))
        raise EvaluationError(
            f"{path}: data line {odd} has {len(rows[odd])} numbers, line 0 has {len(rows[0])}; "
            "expected the same number on each (is the file cut short?)"
        )
    return rows, "," in lines[-1]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _matrix(path: Path, rows: list[list[str]]) -> NDArray[np.float64]:
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise EvaluationError(f"{path} holds something that is no number: {error}") from error


def _stamps_ns(path: Path, words: list[str], unit: Decimal) -> NDArray[np.int64]:
    """Stamps kept to the nanosecond: a float64 of seconds since 1970 is only good to 0.2 us."""
    try:
        return np.array([int(Decimal(word) * unit) for word in words], dtype=np.int64)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise EvaluationError(f"{path}: the first number of every line must be a stamp: {error}") from error


def _covariances_beside(path: Path, poses: int) -> NDArray[np.float64] | None:
    """The (N, 6, 6) covariances that belong to the lines of a trajectory file; None when its folder has none."""
    beside = path.parent / COVARIANCE_FILE
    if not beside.is_file():
        return None
    try:
        values = np.load(beside, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise EvaluationError(f"{beside} cannot be read as a numeric .npy array: {error}") from error
    if values.dtype.kind not in "fiu":
        raise EvaluationError(f"{beside} holds {values.dtype}; expected numbers")
    if values.ndim and len(values) != poses:
        raise EvaluationError(
            f"{beside} has {len(values)} covariances, {path.name} {poses} poses; expected one for each pose "
            "(keep trajectories of another origin in a folder of their own)"
        )
    return np.asarray(values, dtype=np.float64)


def _from_kitti(
    path: Path, rows: list[list[str]], name: str, times: Path | None, covariances: NDArray[np.float64] | None
) -> Trajectory:
    values = _matrix(path, rows)
    if values.shape[1] == 13:
        if not np.array_equal(values[:, 0], np.round(values[:, 0])):
            raise EvaluationError(f"{path}: lines of 13 numbers must begin with a whole frame number")
        numbers = values[:, 0].astype(np.int64)
        values = values[:, 1:]
    else:
        numbers = np.arange(len(values), dtype=np.int64)
    poses = values.reshape(-1, 3, 4)
    if times is None:
        return make_trajectory(numbers, poses, stamped=False, name=name, covariances=covariances)
    rows_of_times, _ = _numbers_of_lines(times)
    stamps = _stamps_ns(times, [row[0] for row in rows_of_times], _NANOSECONDS)
    if numbers.min() < 0 or numbers.max() >= len(stamps):
        raise EvaluationError(
            f"{times} has {len(stamps)} times, {path} frames {numbers.min()} to {numbers.max()}; "
            "expected a time for every frame"
        )
    return make_trajectory(stamps[numbers], poses, stamped=True, name=name, covariances=covariances)


def _from_file(path: Path, name: str, times: Path | None, *, with_covariances: bool) -> Trajectory:
    rows, commas = _numbers_of_lines(path)
    width = len(rows[0])
    covariances = _covariances_beside(path, len(rows)) if with_covariances else None
    if width in (12, 13):
        return _from_kitti(path, rows, name, times, covariances)
    if commas and width >= 8:
        values, unit, order = _matrix(path, rows), Decimal(1), [5, 6, 7, 4]  # ns, x y z, w x y z
    elif width == 8:
        values, unit, order = _matrix(path, rows), _NANOSECONDS, [4, 5, 6, 7]  # s, x y z, x y z w
    else:
        raise EvaluationError(
            f"{path} has {width} numbers a line; expected KITTI (12, or 13 with a frame number first), "
            "TUM (8: stamp x y z qx qy qz qw) or EuRoC csv (stamp_ns,x,y,z,qw,qx,qy,qz,...)"
        )
    stamps = _stamps_ns(path, [row[0] for row in rows], unit)
    bad: NDArray[np.bool_] = np.logical_not(np.isfinite(values[:, 1:8]).all(axis=1))
    if bad.any():
        raise EvaluationError(
            f"{path}: {int(bad.sum())} of {len(bad)} poses hold NaN or infinity, first pose {int(np.argmax(bad))}; "
            "remove these lines (frames without an estimate are left out of the comparison)"
        )
    poses = poses_of(path, values[:, 1:4], values[:, order])
    return make_trajectory(stamps, poses, stamped=True, name=name, covariances=covariances)


def _from_bag(path: Path, topic: str | None, name: str, *, with_covariances: bool) -> Trajectory:
    from featdepth_ros.recordings import read_trajectory, read_twist_covariances

    stamps, poses = zip(*read_trajectory(path, topic), strict=True)
    covariances = None
    of_twist = read_twist_covariances(path, topic) if with_covariances else {}
    if of_twist:
        # What was driven at this twist since the message before; nothing is known of the first.
        seconds = np.diff((np.array(stamps) - stamps[0]) * 1e-9, prepend=0.0)
        covariances = np.stack([of_twist[stamp] for stamp in stamps]) * seconds[:, None, None] ** 2
        covariances[0] = np.nan
    return make_trajectory(stamps, np.stack(poses), stamped=True, name=name, covariances=covariances)


def read_trajectory_file(
    path: str | Path,
    topic: str | None = None,
    times: str | Path | None = None,
    name: str | None = None,
    *,
    with_covariances: bool = False,
) -> Trajectory:
    """Read a trajectory; the format is told from the file's own lines.

    Args:
        path: KITTI poses (12 numbers a line, or a frame number and 12), TUM (stamp x y z qx qy qz qw), EuRoC csv
            (stamp_ns,x,y,z,qw,qx,qy,qz,...), a bag, or a folder that holds one of them under its usual name.
        topic: for bags; None takes the only topic that carries poses.
        times: for KITTI poses, a file with a time in seconds for every frame: the trajectory then has stamps.
        name: what tables call it; the file's name by default.
        with_covariances: also read the covariances of motion: `COVARIANCE_FILE` of the file's folder, or a bag's
            twist covariances times the squared time since the message before.

    Raises:
        EvaluationError: no such file, no pose, lines of another kind, NaN, matrices or quaternions that are none;
            covariances that do not fit the poses.
    """
    source = Path(path).expanduser()
    label = name or source.name
    if not source.exists():
        raise EvaluationError(f"no trajectory at {source}")
    from featdepth_ros.recordings.bags.source import is_bag

    if is_bag(source):
        return _from_bag(source, topic, label, with_covariances=with_covariances)
    if source.is_dir():
        inside = [source / relative for relative in _IN_FOLDERS if (source / relative).is_file()]
        if not inside:
            raise EvaluationError(f"{source} is a folder without {', '.join(_IN_FOLDERS)} or a bag's metadata.yaml")
        source = inside[0]
    seconds = Path(times).expanduser() if times else None
    return _from_file(source, label, seconds, with_covariances=with_covariances)


def read_extrinsics(path: str | Path) -> NDArray[np.float64]:
    """Return a (4, 4) transform from a text of 12 or 16 numbers, or the ``T_BS`` of a EuRoC ``sensor.yaml``.

    Raises:
        EvaluationError, RecordingError: no such file or no transform in it.
    """
    source = Path(path).expanduser()
    if not source.is_file():
        raise EvaluationError(f"no extrinsics at {source}")
    if source.suffix in (".yaml", ".yml"):
        from featdepth_ros.recordings.datasets.euroc import sensor_extrinsics

        values = sensor_extrinsics(source).ravel()
    else:
        rows, _ = _numbers_of_lines(source)
        values = _matrix(source, [[word for row in rows for word in row]])[0]
    if values.size not in (12, 16):
        raise EvaluationError(f"{source} holds {values.size} numbers; expected a 3x4 or 4x4 transform")
    trajectory = make_trajectory([0], values.reshape(1, -1, 4)[:, :3], stamped=False, name=str(source))
    return trajectory.poses[0]
