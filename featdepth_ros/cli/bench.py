"""``featdepth bench``: the speed of networks, estimator, node and training, also beside the original FeatDepth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from featdepth_ros.cli.support.arguments import image_size, whole, with_example
from featdepth_ros.cli.support.bench_inference import (
    INFERENCE_EXAMPLES,
    INFERENCE_KINDS,
    add_inference_kinds,
    run_inference_kind,
)

DESCRIPTION = """Measure the speed of inference or of training.

network and estimator run on every installed back end, in turns with eager PyTorch in float32. node runs over DDS.
export writes files and compares them. step measures one training step. loader compares the rate of the data loader
with the rate that a step needs. With --reference, the code of an original FeatDepth checkout trains on the same
weights and images, in turns with this package's code."""
_STEP_EXAMPLE = "featdepth bench step --reference ~/FeatDepth --json step.json"
_LOADER_EXAMPLE = (
    "featdepth bench loader --cache caches/drive --reference ~/FeatDepth --drive KITTI/2011_09_26/*_drive_0001_sync"
)
EXAMPLE = "\n".join(f"  {example}" for example in (*INFERENCE_EXAMPLES.values(), _STEP_EXAMPLE, _LOADER_EXAMPLE))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="step|loader|network|estimator|node|export")
    step_line = "time, memory and operations of one training step (mono and stereo, no dropout)"
    step = kinds.add_parser("step", help=step_line, description=step_line, **with_example(_STEP_EXAMPLE))
    loader_line = "images per second that a cache delivers, and that a step needs"
    loader = kinds.add_parser("loader", help=loader_line, description=loader_line, **with_example(_LOADER_EXAMPLE))
    for one in (step, loader):
        one.add_argument("--reference", type=Path, metavar="PATH", help="checkout of the original FeatDepth")
        one.add_argument("--size", type=image_size, default=(192, 640), metavar="HxW", help="image size (192x640)")
        one.add_argument(
            "--architecture", default="mono_fm_r50", metavar="NAME", help="network, mono_fm_rN (%(default)s)"
        )
        one.add_argument(
            "--device", choices=("cpu", "cuda"), default="cpu", help="device of the networks (%(default)s)"
        )
        one.add_argument("--threads", type=whole(1), default=1, metavar="N", help="threads of PyTorch (%(default)s)")
        one.add_argument("--steps", type=whole(1), default=5, metavar="N", help="number of timed steps (%(default)s)")
        one.add_argument("--batch", type=whole(1), default=1, metavar="N", help="samples per step (%(default)s)")
        one.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    add_inference_kinds(kinds)
    loader.add_argument("--cache", type=Path, required=True, metavar="CACHE", help="cache that featdepth prepare wrote")
    loader.add_argument("--drive", type=Path, metavar="DRIVE", help="KITTI raw drive for the original's dataset class")
    loader.add_argument("--workers", type=whole(0), default=0, metavar="N", help="loader processes (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measure, print and write the figures. Returns the exit code."""
    from featdepth_ros.reporting.tables import write_json

    if args.kind in INFERENCE_KINDS:
        figures = run_inference_kind(args, _say)
        if args.json is not None:
            write_json(args.json, figures)
        return 0
    from featdepth_training.bench.problem import StepProblem

    height, width = args.size
    # The original always resizes the pose network's input to 192x640; this package does not resize it.
    pose_size = args.size if args.reference is None else (192, 640)
    problem = StepProblem(args.architecture, height, width, args.batch, 0, args.threads, args.device, pose_size)
    figures = _step(problem, args) if args.kind == "step" else _loader(problem, args)
    if args.json is not None:
        write_json(args.json, figures)
    return 0


def _step(problem: Any, args: argparse.Namespace) -> dict[str, Any]:
    from featdepth_training.bench.step import bench_step

    figures = bench_step(problem, args.reference, args.steps, _say)
    for name in ("own", "reference"):
        side = figures[name]
        if side is not None:
            print(
                f"{name}: {side['step_s']:.3f} s per step ({side['step_cpu_s']:.3f} s of processor time), "
                f"peak {side['peak_mib']:.0f} MiB, {side['flops'] / 1e9:.0f} GFLOP, {side['gflops']:.0f} GFLOP/s, "
                f"{100 * side['share_of_floor']:.0f} % of the machine's limit, loss {side['loss']:.7f}"
            )
    machine, compared = figures["machine"], figures["comparison"]
    print(
        f"machine: {machine['matmul_gflops']:.0f} GFLOP/s matrix product, {machine['conv_gflops']:.0f} GFLOP/s "
        f"convolution, {machine['copy_gb_s']:.0f} GB/s, {problem.threads} thread(s)"
    )
    if compared is not None:
        print(
            f"compared with the original: {compared['speed_ratio']:.2f} times as fast ({compared['cpu_ratio']:.2f} by "
            f"processor time), {100 * compared['memory_ratio']:.0f} % of the memory, relative difference of the losses "
            f"{compared['loss_relative_difference']:.1e}, gradient cosine {compared['gradient_cosine']:.7f}"
        )
    return figures


def _loader(problem: Any, args: argparse.Namespace) -> dict[str, Any]:
    from featdepth_training.bench.loader import bench_loader

    if args.reference is not None and args.drive is None:
        _say("the original's dataset class reads KITTI raw drives only; to measure it, name a drive with --drive")
    figures = bench_loader(problem, args.cache, args.steps, args.workers, args.reference, args.drive, _say)
    print(
        f"loader: {figures['loader_images_per_s']:.0f} images/s, {figures['ratio']:.1f} times the "
        f"{figures['step_images_per_s']:.1f} images/s that a step needs (with augmentation "
        f"{figures['augmented_images_per_s']:.0f} images/s, {figures['augmented_ratio']:.1f} times)"
    )
    if figures["augmented_images_per_core_s"] is not None:
        print(
            f"per second of one core: {figures['loader_images_per_core_s']:.0f} images, "
            f"{figures['augmented_images_per_core_s']:.0f} with augmentation"
        )
    if figures["reference_images_per_s"] is not None:
        print(f"the original's dataset class on the same frames: {figures['reference_images_per_s']:.0f} images/s")
    return figures


def _say(text: str) -> None:
    import sys

    print(text, file=sys.stderr)
