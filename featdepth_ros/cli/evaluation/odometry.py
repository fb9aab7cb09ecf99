"""``featdepth eval odometry``: estimated trajectories against a true one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from featdepth_ros.cli.support.arguments import lengths
from featdepth_ros.errors import EvaluationError

if TYPE_CHECKING:
    from featdepth_ros.metrics import OdometryResult, Trajectory

DESCRIPTION = """\
Evaluate trajectories against a true one: KITTI segment errors, ATE, RPE and the five-frame ATE of SfMLearner.

Files are KITTI poses (12 numbers a line, or a frame number and 12), TUM (stamp x y z qx qy qz qw), EuRoC csv, or bags
(Odometry, PoseStamped, TF). Stamped trajectories are paired by nearest stamp, each pose at most once; others are paired
by frame number. The evaluated frames are those of the estimate, and both trajectories start at the first of them.
Unsorted lines are sorted; of several lines with one stamp, the first counts. t_err and r_err are null when no segment
is long enough.
nees is the mean normalised squared error of the motions between frames, per degree of freedom. It is 1 when the
covariances are right. They are read from trajectory.covariance.npy in the estimate's folder, as featdepth infer writes
it, or from a bag's twist covariances times dt^2. Frames with unknown motion are left out (nees_left_out). nees is null
without covariances, and with alignments that scale the estimate.
"""
EXAMPLE = """\
  featdepth eval odometry --gt poses/09.txt --est trajectory.kitti.txt --align 7dof --json figures.json --plot plots
  featdepth eval odometry --gt groundtruth.txt --est run1.tum.txt run2.tum.txt --lengths 1,2,5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.set_defaults(wrong_usage=parser.error)
    parser.add_argument("--gt", required=True, metavar="FILE", help="true trajectory: KITTI, TUM, EuRoC csv or bag")
    parser.add_argument(
        "--est",
        required=True,
        nargs="+",
        action="extend",
        metavar="FILE",
        help="estimated trajectories; several share one table and one plot",
    )
    parser.add_argument(
        "--align",
        default="none",
        choices=("none", "scale", "6dof", "7dof", "umeyama_scale"),
        help="none (default); scale: s = sum(gt.est)/sum(est.est), no rotation; 6dof, 7dof: Umeyama on whole poses; "
        "umeyama_scale: only the scale of 7dof, as in draw_odometry of the original FeatDepth",
    )
    parser.add_argument(
        "--lengths",
        type=lengths,
        metavar="M,M,...",
        help="segment lengths in metres (default: KITTI's 100,200,...,800; use shorter ones for short recordings)",
    )
    parser.add_argument("--gt-topic", metavar="TOPIC", help="topic of the true trajectory, if --gt is a bag")
    parser.add_argument("--est-topic", metavar="TOPIC", help="topic of the estimates, if --est are bags")
    parser.add_argument(
        "--gt-times", metavar="FILE", help="file with the stamp of every frame in seconds, if --gt is a KITTI file"
    )
    parser.add_argument(
        "--est-times", metavar="FILE", help="file with the stamp of every frame in seconds, if --est are KITTI files"
    )
    parser.add_argument(
        "--gt-extrinsics",
        metavar="FILE",
        help="T_body_camera (12 or 16 numbers, or a EuRoC sensor.yaml), to convert true body poses to camera poses",
    )
    parser.add_argument(
        "--max-difference",
        type=float,
        default=0.02,
        metavar="S",
        help="largest stamp difference of a pair, seconds (default 0.02)",
    )
    parser.add_argument("--json", metavar="OUT", help="write the figures; with several estimates, under their names")
    parser.add_argument("--plot", metavar="DIR", help="write plots as PNG and one self-contained report.html")


def _names(paths: list[str]) -> list[str]:
    """Return the shortest ends of the paths that differ from each other, as names.

    Raises:
        EvaluationError: two paths are equal.
    """
    parts = [Path(path).parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise EvaluationError(f"--est names the same file twice: {', '.join(paths)}; name each file once")


def _read(args: argparse.Namespace) -> tuple[Trajectory, list[Trajectory]]:
    from featdepth_ros.reporting.trajectory_files import read_extrinsics, read_trajectory_file

    truth = read_trajectory_file(args.gt, args.gt_topic, args.gt_times, name="ground truth")
    if args.gt_extrinsics:
        truth = truth.moved_to(read_extrinsics(args.gt_extrinsics))
    estimates = [
        read_trajectory_file(path, args.est_topic, args.est_times, name, estimate=True)
        for path, name in zip(args.est, _names(args.est), strict=True)
    ]
    return truth, estimates


def write_plots(results: list[OdometryResult], alignment: str, folder: str) -> Path:
    """Write every plot into ``folder`` as PNG, and a page with all of them. Returns the path of the page."""
    from featdepth_ros.reporting.figures import odometry_figures, save_figures
    from featdepth_ros.reporting.html import Page
    from featdepth_ros.reporting.tables import comparison_table

    figures = odometry_figures(results)
    save_figures(figures, folder)
    page = Page("Odometry against truth")
    page.text(f"Alignment: {alignment}. Both trajectories are based at the first frame of the estimate.")
    page.table(*comparison_table({result.name: result.figures() for result in results}))
    for note in dict.fromkeys(note for result in results for note in result.notes):
        page.note(note)
    captions = {
        "trajectory": "Path from above and from the side",
        "drift": "Position error after alignment, along the path",
        "segments": "Segment errors against length and speed (speed bins of +-2 m/s overlap)",
    }
    for name, figure in figures.items():
        page.figure(figure, captions[name])
    return page.write(Path(folder) / "report.html")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the figures, and write the requested files. Returns the exit code."""
    from featdepth_ros.metrics import KITTI_LENGTHS, evaluate_odometry
    from featdepth_ros.reporting.tables import comparison_table, text_table, write_json

    if not 0 <= args.max_difference < 3600:
        args.wrong_usage(f"--max-difference is {args.max_difference} s; expected 0 to 3600")
    truth, estimates = _read(args)
    results = [
        evaluate_odometry(truth, estimate, args.align, args.lengths or KITTI_LENGTHS, round(args.max_difference * 1e9))
        for estimate in estimates
    ]
    figures = {result.name: result.figures() for result in results}
    print(text_table(*comparison_table(figures)))
    for note in dict.fromkeys(note for result in results for note in result.notes):
        print(f"note: {note}", file=sys.stderr)
    if args.json:
        write_json(args.json, figures if len(figures) > 1 else next(iter(figures.values())))
    if args.plot:
        print(f"report: {write_plots(results, args.align, args.plot)}")
    return 0
