"""``featdepth eval recording``: the node's output in a bag against the ground truth in it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from featdepth_ros.cli.support.arguments import lengths, one_of_or_positive, positive

if TYPE_CHECKING:
    from featdepth_ros.reporting.node_report.evaluation import RecordingOptions

DESCRIPTION = """\
Evaluate a recording of the node: depth, odometry, rate, latency and drops, against the ground truth in the bag.

Topics are found by type and name. The node's are */depth/image_rect, */image_rect and odom. The names of ground truth
contain "truth"; true depth may also be beside the camera's image (/camera/image_raw, /camera/depth/image_rect).
Messages are paired by stamp. Depth of another size than its ground truth is resized in inverse depth. Pixels without a
depth of the node (NaN, +-Inf) are left out; coverage is the share of the others. Figures that the bag cannot give are
null, and a note says why.
"""
EXAMPLE = """\
  featdepth eval recording out/bag --html report.html --json figures.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.set_defaults(wrong_usage=parser.error)
    parser.add_argument("bag", metavar="BAG", help="ROS 1 or ROS 2 bag")
    parser.add_argument("--truth", metavar="BAG", help="bag with the ground truth, if it is another one")
    parser.add_argument("--depth", metavar="TOPIC", help="depth images of the node")
    parser.add_argument("--image", metavar="TOPIC", help="images to show beside the depth")
    parser.add_argument("--odometry", metavar="TOPIC", help="the node's odometry")
    parser.add_argument("--truth-depth", metavar="TOPIC", help="true depth images")
    parser.add_argument("--truth-odometry", metavar="TOPIC", help="true odometry")
    parser.add_argument("--cap", type=positive, default=80.0, help="largest true depth, metres (default 80)")
    parser.add_argument("--min", type=positive, default=1e-3, help="smallest true depth, metres (default 1e-3)")
    parser.add_argument(
        "--scale",
        type=one_of_or_positive("auto", "none", "median"),
        default="auto",
        metavar="auto|none|median|FLOAT",
        help="scale of the depth; auto (default): none, or median if the node reports a relative scale",
    )
    parser.add_argument(
        "--align",
        default="auto",
        choices=("auto", "none", "scale", "6dof", "7dof", "umeyama_scale"),
        help="alignment of the odometry; auto (default): none, or scale if the node reports a relative scale",
    )
    parser.add_argument(
        "--max-difference", type=float, default=0.02, metavar="S", help="largest stamp difference of a pair (0.02)"
    )
    parser.add_argument(
        "--lengths",
        type=lengths,
        metavar="M,M,...",
        help="segment lengths in metres (default: KITTI's; 5 to 80 m on short paths)",
    )
    parser.add_argument("--json", metavar="OUT", help="write the figures")
    parser.add_argument("--html", metavar="OUT", help="write one self-contained page")


def _options(args: argparse.Namespace) -> RecordingOptions:
    from featdepth_ros.reporting.node_report.bag import Topics
    from featdepth_ros.reporting.node_report.evaluation import RecordingOptions

    return RecordingOptions(
        topics=Topics(
            depth=args.depth,
            image=args.image,
            odometry=args.odometry,
            truth_depth=args.truth_depth,
            truth_odometry=args.truth_odometry,
        ),
        truth_bag=args.truth,
        cap=args.cap,
        min_depth=args.min,
        scale=args.scale,
        align=args.align,
        lengths=args.lengths,
        max_difference_s=args.max_difference,
        pictures=12 if args.html else 0,
    )


def flat(figures: dict[str, Any]) -> dict[str, Any]:
    """Flatten the figures for a table: ``latency_ms.p50``."""
    rows: dict[str, Any] = {}
    for key, value in figures.items():
        if isinstance(value, dict):
            rows.update({f"{key}.{inner}": item for inner, item in value.items()})
        elif key != "notes":
            rows[key] = value
    return rows


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the figures, and write the requested files. Returns the exit code."""
    from featdepth_ros.reporting.node_report.evaluation import evaluate_recording, write_html
    from featdepth_ros.reporting.tables import comparison_table, text_table, write_json

    if not 0 <= args.max_difference < 3600:
        args.wrong_usage(f"--max-difference is {args.max_difference} s; expected 0 to 3600")
    result = evaluate_recording(args.bag, _options(args))
    figures = result.figures()
    print(text_table(*comparison_table({"recording": flat(figures)})))
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    if args.json:
        write_json(args.json, figures)
    if args.html:
        print(f"report: {write_html(result, args.html)}")
    return 0
