"""``featdepth refine``: adapt weights to a new place with recordings of it."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from featdepth_ros.cli.support.arguments import add_stereo_recording, image_size, positive, whole

if TYPE_CHECKING:
    from featdepth_training.refine.config import RefineConfig
    from featdepth_training.refine.refine import RefineReport

DESCRIPTION = """\
Refine weights on recordings of the place where they will be used, without ground truth: each frame is predicted from
its neighbours (and from the stereo partner). The last part of each recording is held out to evaluate the weights
before and after. Weights that got worse are rejected (exit code 1, nothing is written). Ctrl-C stops the training; the
weights so far are then evaluated."""
EXAMPLE = """\
  featdepth refine drive.bag --topic /camera/image_raw --weights compact --output refined.safetensors
  featdepth refine one.bag two.bag --weights compact --output refined.safetensors --work refining --resume
  featdepth refine 2011_09_26_drive_0001_sync --stereo --weights compact --output refined.safetensors --epochs 5"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.set_defaults(wrong_usage=parser.error)
    parser.add_argument(
        "input", nargs="+", metavar="INPUT", help="one or several: folder of images, video, bag, KITTI or EuRoC folder"
    )
    parser.add_argument("--weights", required=True, metavar="W", help="file, or the name of a model that ships")
    parser.add_argument("--output", required=True, metavar="W2", help="safetensors file to write; must not exist")
    parser.add_argument("--preset", help="depth range and scale of a published .pth: kitti, kitti_odom, euroc, nyu...")
    add_stereo_recording(
        parser,
        "also learn from the stereo partner: its topic, camera or folder (default: found by its name)",
    )
    parser.add_argument(
        "--size", type=image_size, metavar="HxW", help="size of the networks' input (default: as in infer)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=whole(1), metavar="N", help="optimiser steps")
    length.add_argument("--epochs", type=whole(1), default=20, metavar="N", help="passes over the frames (20)")
    parser.add_argument("--lr", type=positive, default=1e-4, help="learning rate; halved in the last third (1e-4)")
    parser.add_argument("--batch-size", type=whole(1), default=2, metavar="N", help="clips per step (2)")
    parser.add_argument(
        "--held-out",
        type=positive,
        default=0.2,
        metavar="SHARE",
        help="share of each recording, from its end, that is held out (0.2)",
    )
    parser.add_argument(
        "--batch-norm",
        default="frozen",
        choices=["frozen", "adapt"],
        help="statistics: frozen as in the weights (default, as few frames give noisy ones), or adapted to each batch",
    )
    parser.add_argument("--device", default="auto", metavar="D", help="device: auto, cpu, cuda or cuda:N (auto)")
    parser.add_argument("--seed", type=whole(0), default=0, help="random seed of order, augmentation and dropout (0)")
    parser.add_argument("--accept-worse", action="store_true", help="write the weights even if they got worse")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures before and after")
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="folder that keeps prepared frames, checkpoints, metrics.jsonl and TensorBoard's files for another run",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue from the checkpoint that an interrupted run left in --work"
    )


def _config(args: argparse.Namespace) -> RefineConfig:
    from featdepth_ros.errors import ConfigError
    from featdepth_training.refine.config import RefineConfig

    if args.partner_camera is not None and args.stereo is None:
        args.wrong_usage("--partner-camera is the calibration of a stereo partner; add --stereo")
    if args.resume and args.work is None:
        args.wrong_usage("--resume continues from a checkpoint; name its folder with --work")
    try:
        return RefineConfig(
            size=args.size,
            steps=args.steps,
            epochs=args.epochs,
            lr=args.lr,
            batch_size=args.batch_size,
            held_out=args.held_out,
            batch_norm=args.batch_norm,
            device=args.device,
            seed=args.seed,
            accept_worse=args.accept_worse,
        )
    except ConfigError as error:
        args.wrong_usage(str(error))
        raise


def run(args: argparse.Namespace) -> int:
    """Refine the weights. Returns 0 when they were written, 1 when they were rejected."""
    from featdepth_ros.errors import MissingDependencyError
    from featdepth_ros.recordings import open_recording
    from featdepth_ros.reporting.tables import write_json

    try:
        from featdepth_training.refine.refine import refine
    except ImportError as error:
        raise MissingDependencyError(
            f"refinement needs a package that is not installed ({error.name}); "
            "install it with: pip install 'featdepth_ros[train]'"
        ) from error
    config = _config(args)
    recordings = [
        open_recording(
            path, args.topic, args.camera, args.rate, partner=args.stereo, partner_camera=args.partner_camera
        )
        for path in args.input
    ]
    report = refine(args.weights, recordings, args.output, config, args.preset, args.work, False, args.resume)
    _print(report)
    if args.json is not None:
        write_json(args.json, report.to_dict())
    if report.verdict.accepted:
        print(f"accepted: {report.output}")
        return 0
    reasons = "; ".join(report.verdict.reasons)
    if report.output is not None:
        print(f"worse, and written because of --accept-worse: {reasons}: {report.output}", file=sys.stderr)
        return 0
    refused = f"featdepth refine: refused: {reasons}. '{args.output}' was not written (--accept-worse writes it)"
    print(refused, file=sys.stderr)
    return 1


def _print(report: RefineReport) -> None:
    from featdepth_ros.reporting.tables import number, text_table
    from featdepth_training.refine.gate import told_apart

    height, width = report.size
    print(
        f"{report.steps} of {report.planned_steps} steps at {height}x{width}"
        f"{' with stereo partner' if report.stereo else ''}, {report.seconds:.0f} s, {report.skipped} skipped; "
        f"{report.train_clips} clips trained on, {report.held_out_clips} held out"
    )
    before, after = asdict(report.before), asdict(report.after)
    rows = []
    for name in (n for n in before if before[n] is not None or after[n] is not None):
        pair = before[name], after[name]
        floats = all(isinstance(value, float) and math.isfinite(value) for value in pair)
        rows.append([name, *(told_apart(*pair) if floats else map(number, pair))])
    print(text_table(["held out", "before", "after"], rows))
    ratio, held_out = report.scale_ratio, report.scale_ratio_held_out
    print(f"median depth after / before: {ratio:.4f}, on held-out frames {held_out:.4f}")
