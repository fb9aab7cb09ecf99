"""``featdepth eval depth``: depth maps or weights against true depth."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from featdepth_ros.cli.support.arguments import one_of_or_positive, positive

if TYPE_CHECKING:
    from featdepth_ros.metrics.depth import CropName
    from featdepth_ros.reporting.datasets import Sample

DESCRIPTION = """\
Evaluate depth maps against ground truth by the protocol of Eigen et al.: AbsRel, SqRel, RMSE, RMSE log, a1 to a3.

The input is two folders of <stem>.npy (float) or 16-bit PNG (0: unknown), or weights that predict a dataset now.
Pixels count whose true depth lies strictly between --min and --cap and inside the crop. Predictions are scaled, then
clamped to these limits. A prediction of another size is resized bilinearly in inverse depth. The figures are means
over images; images without a pixel to compare are left out and named.
With --dataset the defaults are those of the dataset: garg and 80 m for KITTI, nyu and 10 m for NYU, 10 m for rooms,
70 m for Make3D. With --scale none, metric weights apply their own factor.
scale_median is the median over images of median truth / median prediction, for any --scale. scale_std is the relative
spread of these ratios.
With --sigma, within_1_sigma and within_2_sigma are the shares of pixels whose error is at most one and two predicted
standard deviations. ause is the area between the sparsification curves of the error itself and of sigma (AbsRel, 100
bins, over the mean AbsRel; 0 is the perfect order). Sigma is scaled and masked like the prediction. Without --sigma
these figures are null.
"""
EXAMPLE = """\
  featdepth eval depth --pred out/depth --gt truth --crop garg --scale median --json figures.json
  featdepth eval depth --pred out/depth --sigma out/sigma --gt truth --scale median
  featdepth eval depth --pred out/depth --gt gt_depths.npz --crop garg --scale median
  featdepth eval depth --dataset kitti_raw --root KITTI --split test_files.txt --write-gt gt_depths.npz
  featdepth eval depth --weights compact --dataset seven_scenes --root kitchen --scale median --plot plots"""

DATASETS = ("kitti_raw", "kitti_odom", "tum", "nyu", "seven_scenes", "make3d")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.set_defaults(wrong_usage=parser.error)
    folders = parser.add_argument_group("two folders")
    folders.add_argument("--pred", metavar="DIR", help="predictions, or a folder that featdepth infer wrote")
    folders.add_argument(
        "--gt",
        metavar="DIR|FILE.npz",
        help="true depth, metres; or a gt_depths.npz, whose maps are in the order of the predictions' names (with "
        "--dataset kitti_raw: in the order of the lines of --split)",
    )
    folders.add_argument("--sigma", metavar="DIR", help="standard deviations of the predictions, in the same unit")
    folders.add_argument(
        "--pred-divisor", type=positive, default=256.0, metavar="X", help="predicted metres are PNG value / X (256)"
    )
    folders.add_argument(
        "--gt-divisor", type=positive, default=256.0, metavar="X", help="true metres are PNG value / X (256)"
    )
    data = parser.add_argument_group("weights on a dataset")
    data.add_argument("--weights", metavar="W", help="file, or the name of a model that ships")
    data.add_argument("--preset", metavar="NAME", help="depth range of published weights: kitti, euroc, nyu, ...")
    data.add_argument(
        "--convention", default="", metavar="NAME|FILE", help="format of a third-party depth network (.onnx)"
    )
    data.add_argument("--dataset", choices=DATASETS, help="layout of the dataset under --root")
    data.add_argument("--root", metavar="DIR", help="folder of the dataset")
    data.add_argument(
        "--split", metavar="FILE", help="list of frames, one per line (default: every frame with ground truth)"
    )
    data.add_argument(
        "--truth",
        default="eigen",
        choices=("eigen", "eigen_laser", "improved"),
        help="for kitti_raw. eigen: laser depth along the optical axis (default); eigen_laser: along the laser's x "
        "axis, as in some published files; improved: the accumulated maps under proj_depth",
    )
    data.add_argument(
        "--write-gt", metavar="FILE.npz", help="write the dataset's true depth as gt_depths.npz; needs no --weights"
    )
    data.add_argument("--flip", action="store_true", help="average with the mirrored image's prediction")
    data.add_argument("--device", default="cpu", help="device of the networks: cpu (default), cuda, ...")
    rules = parser.add_argument_group("protocol")
    rules.add_argument(
        "--crop",
        choices=("none", "garg", "eigen", "nyu"),
        help="pixels that count (default none, with --dataset its own)",
    )
    rules.add_argument("--cap", type=positive, help="largest true depth, metres (default 80, with --dataset its own)")
    rules.add_argument("--min", type=positive, default=1e-3, help="smallest true depth, metres (default 1e-3)")
    rules.add_argument(
        "--scale",
        type=one_of_or_positive("none", "median"),
        default="none",
        metavar="none|median|FLOAT",
        help="none (default), median of each image, or a factor (36 for the published stereo weights)",
    )
    rules.add_argument("--skip-invalid", action="store_true", help="leave non-finite predictions out and count them")
    parser.add_argument("--json", metavar="OUT", help="write the figures; with --skip-invalid also skipped_pixels")
    parser.add_argument("--plot", metavar="DIR", help="write pictures as PNG and one self-contained report.html")


def _check(args: argparse.Namespace) -> None:
    archive = bool(args.gt) and args.gt.endswith(".npz")
    data = [args.weights or args.write_gt, args.dataset, args.root]
    folders = [args.pred, None if archive and any(data) else args.gt]
    if any(folders) == any(data) or not (all(folders) or all(data)):
        args.wrong_usage("expected either --pred DIR and --gt DIR, or --weights W, --dataset NAME and --root DIR")
    if args.sigma and not args.pred:
        args.wrong_usage("--sigma DIR belongs to --pred DIR and --gt DIR")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the figures, and write the requested files. Returns the exit code."""
    _check(args)
    from featdepth_ros.metrics import DepthProtocol
    from featdepth_ros.reporting.datasets import PROTOCOLS, open_dataset
    from featdepth_ros.reporting.depth_evaluation import (
        archive_pairs,
        evaluate_pairs,
        folder_pairs,
        write_depth_report,
    )
    from featdepth_ros.reporting.tables import comparison_table, text_table, write_json

    default_crop, default_cap = PROTOCOLS[args.dataset] if args.dataset else ("none", 80.0)
    crop: CropName = args.crop or default_crop
    cap: float = args.cap or default_cap
    scale: Any = args.scale
    notes: list[str] = []
    if args.dataset:
        from featdepth_ros.cli.support.depth_predictor import DepthPredictor, predicted_pairs, scale_in_metres

        samples = open_dataset(args.dataset, args.root, args.split, args.truth, args.gt)
        if args.write_gt:
            _write_truth(samples, args.write_gt)
        if not args.weights:
            return 0
        predictor = DepthPredictor(args.weights, args.preset, args.device, args.flip, args.convention)
        pairs = predicted_pairs(samples, predictor)
        if scale == "none":
            scale, note = scale_in_metres(predictor, args.weights)
            notes.append(note)
    elif args.gt.endswith(".npz"):
        pairs = archive_pairs(args.pred, args.gt, args.pred_divisor)
    else:
        pairs, notes = folder_pairs(args.pred, args.gt, args.pred_divisor, args.gt_divisor, args.sigma)
    protocol = DepthProtocol(args.min, cap, crop, scale, args.skip_invalid)
    result = evaluate_pairs(pairs, protocol, pictures=6 if args.plot else 0)
    figures: dict[str, Any] = result.figures()
    print(text_table(*comparison_table({f"crop {crop}, cap {cap:g} m, scale {scale}": figures})))
    for note in (*notes, *result.notes):
        print(f"note: {note}", file=sys.stderr)
    if args.json:
        write_json(args.json, figures)
    if args.plot:
        print(f"report: {write_depth_report(result, (*notes, *result.notes), args.plot)}")
    return 0


def _write_truth(samples: Sequence[Sample], path: str) -> None:
    from featdepth_ros.progress import progress
    from featdepth_ros.reporting.truth_archive import write_truth_archive

    file = write_truth_archive(path, [sample.truth() for sample in progress(samples, "truth", unit="image")])
    print(f"{len(samples)} true depth maps: {file}")
