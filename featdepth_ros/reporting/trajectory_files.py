"""Reading of trajectories from KITTI, TUM and EuRoC csv files, and from bags (by `recordings`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics import Trajectory, make_trajectory
from featdepth_ros.recordings.datasets.pose_files import read_pose_file, read_times
from featdepth_ros.recordings.datasets.tables import numbers, rows
from featdepth_ros.reporting.depth_maps import read_array

#: Usual file names of a trajectory inside a folder: `featdepth infer` and KITTI, TUM RGB-D, EuRoC.
_IN_FOLDERS = (
    "trajectory.tum.txt",
    "poses.txt",
    "groundtruth.txt",
    "state_groundtruth_estimate0/data.csv",
    "mav0/state_groundtruth_estimate0/data.csv",
)
#: File that `featdepth infer` writes beside its trajectories, with the covariance of each motion.
COVARIANCE_FILE = "trajectory.covariance.npy"


def _covariances_beside(path: Path, poses: int) -> NDArray[np.float64] | None:
    """Return the (N, 6, 6) covariances for the lines of a trajectory file; None if its folder has none."""
    beside = path.parent / COVARIANCE_FILE
    if not beside.is_file():
        return None
    values = read_array(beside)
    if values.ndim and len(values) != poses:
        raise EvaluationError(
            f"{beside} has {len(values)} covariances, {path.name} {poses} poses; expected one covariance per pose "
            "(move trajectories from another source to a separate folder)"
        )
    return np.asarray(values, dtype=np.float64)


def _from_file(path: Path, name: str, times: Path | None, *, estimate: bool) -> Trajectory:
    table = read_pose_file(path)
    covariances = _covariances_beside(path, len(table)) if estimate else None
    keys, stamped = table.keys, table.stamped
    if times is not None and not stamped:
        keys, stamped = _stamps_of_frames(path, keys, times), True
    return make_trajectory(keys, table.poses, stamped=stamped, name=name, covariances=covariances)


def _stamps_of_frames(path: Path, frames: NDArray[np.int64], times: Path) -> NDArray[np.int64]:
    stamps = read_times(times)
    if frames.min() < 0 or frames.max() >= len(stamps):
        raise EvaluationError(
            f"{times} has {len(stamps)} times, {path} frames {frames.min()} to {frames.max()}; "
            "expected one time per frame"
        )
    return stamps[frames]


def covariances_of_motion(
    stamps_ns: Sequence[int] | NDArray[np.int64], of_twist: Sequence[NDArray[np.float64]] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the (N, 6, 6) covariances of the motion between messages, from those of their twists; NaN for the first.

    Args:
        stamps_ns: (N,) stamps of the messages, in their order.
        of_twist: (N, 6, 6) covariances of their twists, (m/s)^2 and (rad/s)^2.
    """
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    seconds = np.diff((stamps - stamps[0]) * 1e-9, prepend=0.0)
    covariances: NDArray[np.float64] = np.array(of_twist, dtype=np.float64) * seconds[:, None, None] ** 2
    covariances[0] = np.nan
    return covariances


def _from_bag(path: Path, topic: str | None, name: str, *, estimate: bool) -> Trajectory:
    from featdepth_ros.recordings import read_trajectory, read_twist_covariances

    stamps, poses = zip(*read_trajectory(path, topic, estimate=estimate), strict=True)
    of_twist = read_twist_covariances(path, topic, estimate=True) if estimate else {}
    covariances = covariances_of_motion(stamps, [of_twist[stamp] for stamp in stamps]) if of_twist else None
    return make_trajectory(stamps, np.stack(poses), stamped=True, name=name, covariances=covariances)


def read_trajectory_file(
    path: str | Path,
    topic: str | None = None,
    times: str | Path | None = None,
    name: str | None = None,
    *,
    estimate: bool = False,
) -> Trajectory:
    """Read a trajectory; the format is detected from the lines of the file.

    Args:
        path: KITTI poses (12 numbers per line, or a frame number and 12), TUM (stamp x y z qx qy qz qw), EuRoC csv
            (stamp_ns,x,y,z,qw,qx,qy,qz,...), a bag, or a folder that holds one of them under its usual name.
        topic: topic of a bag; None takes the only topic with poses.
        times: for KITTI poses, a file with a time in seconds for every frame; the trajectory then has stamps.
        name: name of the trajectory in tables; the file's name by default.
        estimate: whether the trajectory is an estimate. If so, its covariances of motion are read from
            `COVARIANCE_FILE` in the file's folder. Those of a bag are the twist covariances times the squared time
            since the previous message. Ground-truth topics of a bag are then ignored.

    Raises:
        RecordingError: there is no pose, the lines have an unknown format, or stamps, numbers or quaternions are
            invalid.
        EvaluationError: the file is missing, holds NaN or matrices that are not rotations, or the covariances do not
            match the poses.
    """
    source = Path(path).expanduser()
    label = name or source.name
    if not source.exists():
        raise EvaluationError(f"no trajectory at {source}")
    from featdepth_ros.recordings.bags.storage.files import is_bag

    if is_bag(source):
        return _from_bag(source, topic, label, estimate=estimate)
    if source.is_dir():
        inside = [source / relative for relative in _IN_FOLDERS if (source / relative).is_file()]
        if not inside:
            raise EvaluationError(
                f"{source} is a folder without a trajectory; expected one of {', '.join(_IN_FOLDERS)}, or the "
                "metadata.yaml of a bag"
            )
        source = inside[0]
    seconds = Path(times).expanduser() if times else None
    return _from_file(source, label, seconds, estimate=estimate)


def read_extrinsics(path: str | Path) -> NDArray[np.float64]:
    """Return a (4, 4) transform from a text file with 12 or 16 numbers, or the ``T_BS`` of a EuRoC ``sensor.yaml``.

    Raises:
        EvaluationError, RecordingError: the file is missing or holds no transform.
    """
    source = Path(path).expanduser()
    if not source.is_file():
        raise EvaluationError(f"no extrinsics at {source}")
    if source.suffix in (".yaml", ".yml"):
        from featdepth_ros.recordings.datasets.euroc import sensor_extrinsics

        values = sensor_extrinsics(source).ravel()
    else:
        values = np.array(_numbers(source))
    if values.size not in (12, 16):
        raise EvaluationError(f"{source} holds {values.size} numbers; expected a 3x4 or 4x4 transform")
    trajectory = make_trajectory([0], values.reshape(1, -1, 4)[:, :3], stamped=False, name=str(source))
    pose: NDArray[np.float64] = trajectory.poses[0]
    return pose


def _numbers(path: Path) -> list[float]:
    words = [(line, " ".join(fields).replace(",", " ").split()) for line, fields in rows(path)]
    return [value for line, fields in words for value in numbers(path, line, fields, len(fields))]
