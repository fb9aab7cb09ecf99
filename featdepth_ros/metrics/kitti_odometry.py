"""Evaluation of odometry: KITTI segment errors, ATE, RPE and the five-frame ATE (docs/reference.md 6). numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics.trajectory import Alignment, Trajectory, align, associate, rebase, turned_axes_deg
from featdepth_ros.metrics.uncertainty import Consistency, evaluate_covariances

#: Segment lengths of the KITTI odometry benchmark, metres.
KITTI_LENGTHS = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0)
#: Number of frames between the starts of segments.
SEGMENT_STEP = 10
#: Number of frames in a snippet of the five-frame ATE.
SNIPPET_FRAMES = 5
#: Default of the largest stamp difference of a matched pair, nanoseconds.
MAX_STAMP_DIFFERENCE_NS = 20_000_000


@dataclass(frozen=True)
class Segments:
    """Errors over segments of fixed length, as arrays (S,) with one element per segment.

    Attributes:
        first, last: indices in the compared trajectories.
        length_m: nominal length, metres.
        t_err: translation error per length, m/m.
        r_err: rotation error per length, rad/m.
        speed: nominal length over the segment's duration, m/s.
    """

    first: NDArray[np.intp]
    last: NDArray[np.intp]
    length_m: NDArray[np.float64]
    t_err: NDArray[np.float64]
    r_err: NDArray[np.float64]
    speed: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.length_m)


@dataclass(frozen=True)
class OdometryResult:
    """Metrics of one estimate, and the data for their plots.

    Attributes:
        name: the estimate's name.
        t_err_percent, r_err_deg_per_100m: mean over all segments; None without any segment.
        ate_m: root mean square of the position errors after alignment, metres.
        rpe_m, rpe_deg: mean error of the motion between consecutive frames, metres and degrees.
        scale: the factor that the alignment applied to the estimate.
        segments: number of segments.
        frames: number of compared poses.
        length_m: path length of the ground truth over these poses, metres.
        ate5_mean_m, ate5_std_m: mean and standard deviation of the five-frame ATE, see `snippet_ate`.
        truth, estimate: (N, 4, 4) compared poses relative to the first common frame; the estimate is aligned.
        T_world_base: (4, 4) true pose of the first common frame, to which both trajectories are relative.
        segment_errors: see `Segments`.
        unmatched: number of estimated poses without ground truth.
        notes: remarks on the metrics for the reader.
        nees: see `Consistency`; None without covariances, or if the alignment scales the estimate.
        nees_left_out: number of frames that ``nees`` excludes; None without ``nees``.
    """

    name: str
    t_err_percent: float | None
    r_err_deg_per_100m: float | None
    ate_m: float
    rpe_m: float
    rpe_deg: float
    scale: float
    segments: int
    frames: int
    length_m: float
    ate5_mean_m: float
    ate5_std_m: float
    truth: NDArray[np.float64]
    estimate: NDArray[np.float64]
    T_world_base: NDArray[np.float64]
    segment_errors: Segments
    unmatched: int = 0
    notes: tuple[str, ...] = field(default=())
    nees: float | None = None
    nees_left_out: int | None = None

    def figures(self) -> dict[str, float | int | None]:
        """Return only the metrics, with the keys of the command line's JSON."""
        return {key: getattr(self, key) for key in ODOMETRY_KEYS}


ODOMETRY_KEYS = (
    "t_err_percent",
    "r_err_deg_per_100m",
    "ate_m",
    "rpe_m",
    "rpe_deg",
    "scale",
    "segments",
    "frames",
    "length_m",
    "ate5_mean_m",
    "ate5_std_m",
    "nees",
    "nees_left_out",
)


def _angles(transforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation angles of (N, 4, 4) transforms, radians.

    They are computed from the clamped trace, as in KITTI's development kit. Matrices with seven printed digits are
    rotations to about 1e-7 only. The angle from the trace can then be wrong by up to 3e-4 rad, which is included in
    published results.
    """
    cosine = (np.trace(transforms[:, :3, :3], axis1=1, axis2=2) - 1) / 2
    angles: NDArray[np.float64] = np.arccos(np.clip(cosine, -1.0, 1.0))
    return angles


def path_distances(poses: ArrayLike) -> NDArray[np.float64]:
    """Return the (N,) path length from the first of (N, 4, 4) poses to each, metres."""
    positions = np.asarray(poses, dtype=np.float64)[:, :3, 3]
    steps: NDArray[np.float64] = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return np.concatenate([np.zeros(1), np.cumsum(steps)])


def segment_errors(
    truth: ArrayLike,
    estimate: ArrayLike,
    lengths: Sequence[float] = KITTI_LENGTHS,
    frame_numbers: ArrayLike | None = None,
    seconds: ArrayLike | None = None,
) -> Segments:
    """Return the KITTI odometry errors over segments of the given lengths (Geiger et al., 2012; docs/reference.md 6).

    A segment starts at every frame whose number is a multiple of ten. It ends at the first frame beyond its length
    along the true path. Its error is inv(estimated motion) @ true motion.

    Args:
        truth: (N, 4, 4) poses.
        estimate: (N, 4, 4) poses of the same frames.
        lengths: lengths of segments, metres.
        frame_numbers: (N,) frame numbers in the recording; None: 0, 1, 2...
        seconds: (N,) times of the frames for speeds; None: 0.1 s times the frame number, as in KITTI's kit.
    """
    gt, est = np.asarray(truth, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    numbers = np.arange(len(gt)) if frame_numbers is None else np.asarray(frame_numbers)
    distance = path_distances(gt)
    starts = np.flatnonzero(numbers % SEGMENT_STEP == 0)
    rows: list[tuple[int, int, float]] = []
    for start in starts:
        ends = np.searchsorted(distance, distance[start] + np.asarray(lengths, dtype=np.float64), side="right")
        rows += [
            (int(start), int(end), float(length))
            for end, length in zip(ends, lengths, strict=True)
            if end < len(distance)
        ]
    first = np.array([row[0] for row in rows], dtype=np.intp)
    last = np.array([row[1] for row in rows], dtype=np.intp)
    length_m = np.array([row[2] for row in rows], dtype=np.float64)
    motion_truth = np.linalg.inv(gt[first]) @ gt[last]
    motion_estimate = np.linalg.inv(est[first]) @ est[last]
    error = np.linalg.inv(motion_estimate) @ motion_truth
    if seconds is None:
        # KITTI's kit counts both ends, so the duration of n intervals is (n + 1) * 0.1 s.
        duration = 0.1 * (numbers[last] - numbers[first] + 1.0)
    else:
        times = np.asarray(seconds, dtype=np.float64)
        duration = times[last] - times[first]
    return Segments(
        first=first,
        last=last,
        length_m=length_m,
        t_err=np.linalg.norm(error[:, :3, 3], axis=1) / length_m,
        r_err=_angles(error) / length_m,
        speed=length_m / duration,
    )


def absolute_errors(truth: ArrayLike, estimate: ArrayLike) -> NDArray[np.float64]:
    """Return the (N,) distances between positions of (N, 4, 4) poses, metres; ATE is their root mean square."""
    gt, est = np.asarray(truth, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    distances: NDArray[np.float64] = np.linalg.norm(gt[:, :3, 3] - est[:, :3, 3], axis=1)
    return distances


def relative_errors(truth: ArrayLike, estimate: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the errors of the motion between consecutive poses: (N-1,) metres and (N-1,) radians.

    The error is inv(true motion) @ estimated motion, as in the TUM benchmark (Sturm et al., 2012).
    """
    gt, est = np.asarray(truth, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    error = np.linalg.inv(np.linalg.inv(gt[:-1]) @ gt[1:]) @ (np.linalg.inv(est[:-1]) @ est[1:])
    return np.linalg.norm(error[:, :3, 3], axis=1), _angles(error)


def snippet_ate(truth: ArrayLike, estimate: ArrayLike, frames: int = SNIPPET_FRAMES) -> NDArray[np.float64]:
    """Return the reference's five-frame ATE of every snippet, (N-1,) metres (from SfMLearner; docs/reference.md 6).

    It reproduces the reference's eval_pose. A snippet starts at every frame, and those at the end are shorter. Both
    sides chain *inverse* local transforms. The estimate is scaled per snippet by sum(gt . est) / sum(est . est). The
    error is sqrt(sum of squares) / number of points, which is not a root mean square. If the estimate does not move,
    its points are zero at any scale.

    Args:
        truth: (N, 4, 4) poses.
        estimate: (N, 4, 4) poses of the same frames.
        frames: number of points in a snippet.
    """
    gt, est = np.asarray(truth, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    local_gt, local_est = np.linalg.inv(gt[1:]) @ gt[:-1], np.linalg.inv(est[1:]) @ est[:-1]
    count = len(local_gt)
    window = min(frames - 1, count)

    def points(local: NDArray[np.float64]) -> NDArray[np.float64]:
        padded = np.concatenate([local, np.tile(np.eye(4), (window, 1, 1))])  # after the end the camera is static
        chained = np.tile(np.eye(4), (count, 1, 1))
        result = np.zeros((count, window + 1, 3))
        for step in range(window):
            chained = chained @ padded[step : step + count]
            result[:, step + 1] = chained[:, :3, 3]
        return result

    a, b = points(local_gt), points(local_est)
    lengths = np.minimum(np.arange(count, 0, -1), window) + 1
    inside = np.arange(window + 1) < lengths[:, None]
    a, b = a * inside[..., None], b * inside[..., None]
    squares = (b * b).sum(axis=(1, 2))
    scale = (a * b).sum(axis=(1, 2)) / np.where(squares > 0, squares, 1.0)
    error = ((b * scale[:, None, None] - a) ** 2).sum(axis=(1, 2))
    ates: NDArray[np.float64] = np.sqrt(error) / lengths
    return ates


def _matched(truth: Trajectory, estimate: Trajectory, max_difference_ns: int) -> tuple[NDArray[np.intp], ...]:
    if truth.stamped != estimate.stamped:
        kinds = [("stamps" if t.stamped else "frame numbers") for t in (truth, estimate)]
        raise EvaluationError(
            f"{truth.name} has {kinds[0]}, {estimate.name} has {kinds[1]}; give both the same, "
            "for instance a times file for the one without stamps"
        )
    of_truth, of_estimate = associate(truth.keys, estimate.keys, max_difference_ns if truth.stamped else 0)
    if len(of_truth) < 2:
        unit = "ns" if truth.stamped else "frames"
        raise EvaluationError(
            f"{truth.name} ({truth.keys[0]} to {truth.keys[-1]} {unit}, {len(truth)} poses) and {estimate.name} "
            f"({estimate.keys[0]} to {estimate.keys[-1]} {unit}, {len(estimate)} poses) have {len(of_truth)} "
            "frames in common; expected at least 2. Check clock, start and sorting of the two"
        )
    return of_truth, of_estimate


def evaluate_odometry(
    truth: Trajectory,
    estimate: Trajectory,
    alignment: Alignment = "none",
    lengths: Sequence[float] = KITTI_LENGTHS,
    max_difference_ns: int = MAX_STAMP_DIFFERENCE_NS,
) -> OdometryResult:
    """Evaluate an estimated trajectory.

    The compared frames are those of the estimate. Both trajectories are made relative to the first of them, then
    aligned.

    Args:
        truth: the true poses.
        estimate: poses of the same frame on the vehicle. Both have stamps, or both have frame numbers.
        alignment: see `trajectory.align`.
        lengths: lengths of segments, metres, above 0.
        max_difference_ns: see `trajectory.associate`.

    Raises:
        EvaluationError: there are fewer than two common frames, only one trajectory has stamps, or the scale is
            undefined.
    """
    if not lengths or not all(np.isfinite(length) and length > 0 for length in lengths):
        raise EvaluationError(f"segment lengths are {list(lengths)}; expected metres above 0, at least one")
    of_truth, of_estimate = _matched(truth, estimate, max_difference_ns)
    gt = rebase(truth.poses[of_truth])
    try:
        est, scale = align(gt, rebase(estimate.poses[of_estimate]), alignment)
    except EvaluationError as error:
        raise EvaluationError(f"{estimate.name}: {error}") from error
    numbers = None if truth.stamped else truth.keys[of_truth]
    seconds = (truth.keys[of_truth] - truth.keys[of_truth[0]]) * 1e-9 if truth.stamped else None
    segments = segment_errors(gt, est, lengths, numbers, seconds)
    rpe_m, rpe_rad = relative_errors(gt, est)
    snippets = snippet_ate(gt, est)
    length_m = float(path_distances(gt)[-1])
    unmatched = len(estimate) - len(of_estimate)
    consistency = _consistency(truth, estimate, of_truth, of_estimate, alignment)
    notes = _notes(truth, estimate, unmatched, scale, segments, min(lengths), length_m)
    turned = turned_axes_deg(gt, est)
    if turned is not None:
        notes += (
            f"{estimate.name}: its moving frame seems turned by about {round(turned, -1):.0f} degrees against the "
            "truth's, as a camera's axes are against a robot's. Most metrics are then meaningless; convert true body "
            "poses to camera poses with --gt-extrinsics",
        )
    return OdometryResult(
        name=estimate.name,
        t_err_percent=float(segments.t_err.mean() * 100) if len(segments) else None,
        r_err_deg_per_100m=float(np.degrees(segments.r_err.mean()) * 100) if len(segments) else None,
        ate_m=float(np.sqrt(np.mean(absolute_errors(gt, est) ** 2))),
        rpe_m=float(rpe_m.mean()),
        rpe_deg=float(np.degrees(rpe_rad.mean())),
        scale=scale,
        segments=len(segments),
        frames=len(gt),
        length_m=length_m,
        ate5_mean_m=float(snippets.mean()),
        ate5_std_m=float(snippets.std()),
        truth=gt,
        estimate=est,
        T_world_base=truth.poses[of_truth[0]],
        segment_errors=segments,
        unmatched=unmatched,
        notes=notes + (consistency.notes if consistency else ()),
        nees=consistency.nees if consistency else None,
        nees_left_out=consistency.left_out if consistency else None,
    )


def _consistency(
    truth: Trajectory,
    estimate: Trajectory,
    of_truth: NDArray[np.intp],
    of_estimate: NDArray[np.intp],
    alignment: Alignment,
) -> Consistency | None:
    """Evaluate the covariances of the matched poses; None with an alignment that changes the scale."""
    if estimate.covariances is None or alignment not in ("none", "6dof"):
        return None
    rows = estimate.covariances[of_estimate]
    rows[1:][np.diff(of_estimate) != 1] = np.nan  # a pose between the two has no truth
    return evaluate_covariances(truth.poses[of_truth], estimate.poses[of_estimate], rows, estimate.name)


def _notes(
    truth: Trajectory,
    estimate: Trajectory,
    unmatched: int,
    scale: float,
    segments: Segments,
    shortest: float,
    length_m: float,
) -> tuple[str, ...]:
    notes = [
        f"{t.name}: {t.duplicates} poses repeat a stamp; the first of each is used"
        for t in (truth, estimate)
        if t.duplicates
    ]
    if unmatched:
        notes.append(f"{estimate.name}: {unmatched} of {len(estimate)} poses have no truth and do not count")
    if scale <= 0:
        notes.append(f"{estimate.name}: the fitted scale is {scale:.3g}, so the estimate moves against the truth")
    if not len(segments):
        notes.append(
            f"{estimate.name}: the path of {length_m:.1f} m has no segment of {shortest:g} m, so there are no t_err "
            "and r_err; choose shorter segments with --lengths"
        )
    return tuple(notes)


def mean_by(
    keys: NDArray[np.float64], segments: Segments, values: Sequence[float], half_width: float
) -> list[tuple[float, float, float, int]]:
    """Return mean segment errors around given lengths or speeds, for the curves of the reference's draw_odometry.

    Args:
        keys: (S,) length or speed of each segment.
        segments: the errors.
        values: centres of the bins.
        half_width: half width of the bins, for |key - centre| < half_width. The reference's speed bins overlap (centres
            every 2 m/s, half width 2 m/s).

    Returns:
        (centre, mean t_err in %, mean r_err in deg per 100 m, number of segments) of every bin that is not empty.
    """
    curve = []
    for value in values:
        inside = np.abs(keys - value) < half_width
        if inside.any():
            t_err = float(segments.t_err[inside].mean() * 100)
            r_err = float(np.degrees(segments.r_err[inside].mean()) * 100)
            curve.append((float(value), t_err, r_err, int(inside.sum())))
    return curve
