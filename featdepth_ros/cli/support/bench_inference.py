"""The kinds of ``featdepth bench`` that measure inference: networks, estimator, node, exported files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from featdepth_ros.cli.support.arguments import image_size, positive, whole, with_example

INFERENCE_KINDS = {
    "network": "time of depth and motion per frame on every back end, compared with eager PyTorch in float32",
    "estimator": "the whole estimator on a rendered drive, stage by stage",
    "node": "the node over DDS: rate, latency, drops",
    "export": "exported files: time to write, size, errors",
}
INFERENCE_EXAMPLES = {
    "network": "featdepth bench network --size 192x640 --threads 2",
    "estimator": "featdepth bench estimator --size 192x640 --threads 2 --json estimator.json",
    "node": "featdepth bench node --rate 30 --seconds 10 --json node.json",
    "export": "featdepth bench export --json export.json",
}


def add_inference_kinds(kinds: Any) -> None:
    """Declare the kinds and their arguments on the verb's subparsers ``kinds``."""
    parsers = {
        name: kinds.add_parser(name, help=line, description=line, **with_example(INFERENCE_EXAMPLES[name]))
        for name, line in INFERENCE_KINDS.items()
    }
    for name, one in parsers.items():
        one.add_argument(
            "--weights",
            default="compact",
            metavar="W",
            help="file or name; network and estimator also take an architecture, with random weights (%(default)s)",
        )
        one.add_argument("--preset", metavar="NAME", help="depth range and scale of a published .pth")
        one.add_argument("--size", type=image_size, metavar="HxW", help="size of the networks' input (as trained)")
        one.add_argument(
            "--threads", type=whole(1), default=1, metavar="N", help="threads of the networks (%(default)s)"
        )
        one.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
        if name in ("network", "estimator"):
            one.add_argument(
                "--device", choices=("cpu", "cuda"), default="cpu", help="device of the networks (%(default)s)"
            )
            one.add_argument("--frames", type=whole(8), default=60, metavar="N", help="timed (%(default)s)")
            one.add_argument(
                "--backend", action="append", default=[], metavar="NAME", help="only this back end; repeatable"
            )
            one.add_argument(
                "--precision", action="append", default=[], metavar="P", help="only this precision; repeatable"
            )
    node = parsers["node"]
    node.add_argument("--seconds", type=positive, default=10.0, help="seconds of the rendered drive (%(default)s)")
    node.add_argument("--rate", type=positive, default=30.0, metavar="HZ", help="frames per second (%(default)s)")
    node.add_argument("--output", default="bench_node", metavar="DIR", help="folder for bags and logs (%(default)s)")


def run_inference_kind(args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure one kind, print the figures and return them.

    Raises:
        FeatDepthError: the measurement failed.
    """
    return {"network": _network, "estimator": _estimator, "node": _node, "export": _export}[args.kind](args, say)


def _network(args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    from featdepth_training.bench.network import bench_network

    figures = bench_network(**_networks(args), precisions=args.precision or ("fp32", "bf16"), say=say)
    for name, one in figures["variants"].items():
        print(f"{name:<20}{_times(one)}, {one['ratio']:.2f} times eager fp32")
    for name, reason in figures["refused"].items():
        print(f"{name:<20}{reason}")
    print(f"floor {figures['floor_ms']:.1f} ms: {figures['flops'] / 1e9:.1f} GFLOP at this machine's best in float32")
    return figures


def _networks(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that are common to the kinds for any network."""
    shared = ("weights", "size", "threads", "preset", "device")
    return {**{name: getattr(args, name) for name in shared}, "frames": args.frames, "backends": args.backend}


def _estimator(args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    from featdepth_training.bench.network import bench_estimator

    figures = bench_estimator(**_networks(args), precision=args.precision[0] if args.precision else "auto", say=say)
    for name, one in figures["variants"].items():
        stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in one["stages_ms"].items())
        print(f"{name:<32}{_times(one)}; {stages}")
    return figures


def _node(args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    import json

    from featdepth_ros.cli.main import main

    result = Path(args.output) / "figures.json"
    Path(args.output).mkdir(parents=True, exist_ok=True)
    words = ["demo", "--output", args.output, "--weights", args.weights, "--json", str(result)]
    say(f"{args.seconds:g} s at {args.rate:g} frames/s over DDS")
    if main([*words, "--seconds", str(args.seconds), "--rate", str(args.rate)]):
        from featdepth_ros.errors import FeatDepthError

        raise FeatDepthError(f"the node could not be measured; its log in {args.output}/logs says why")
    return dict(json.loads(result.read_text(encoding="utf-8")))


def _export(args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    import tempfile
    import time

    from featdepth_ros.cli.support.check_frames import rendered_frames
    from featdepth_ros.errors import MissingDependencyError
    from featdepth_ros.export.export import SUFFIXES, ExportRequest, export_model
    from featdepth_ros.models.checkpoints import load_model

    model = load_model(args.weights, preset=args.preset)
    size = args.size or model.info.input_size
    frames = rendered_frames(size, 4)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for format_name, suffix in SUFFIXES.items():
            say(f"writing {format_name}")
            started = time.perf_counter()
            try:
                request = ExportRequest(format_name, Path(folder) / f"network{suffix}", size)  # type: ignore[arg-type]
                result = export_model(model, request, frames)
            except MissingDependencyError as error:
                figures[format_name] = {"missing": str(error)}
                print(f"{format_name:<14}{error}")
                continue
            seconds, size_bytes = time.perf_counter() - started, sum(p.stat().st_size for p in result.files)
            figures[format_name] = {"seconds": seconds, "bytes": size_bytes, "errors": result.parity.errors}
            errors = ", ".join(f"{name} {error:.1e}" for name, error in result.parity.errors.items())
            print(f"{format_name:<14}{seconds:.0f} s, {size_bytes / 1e6:.1f} MB, errors: {errors}")
    return figures


def _times(one: dict[str, Any]) -> str:
    ms = one["ms"]
    return (
        f"{ms['p50']:.1f} ms (p95 {ms['p95']:.1f}, p99 {ms['p99']:.1f}), {one['frames_per_s']:.0f} frames/s, "
        f"{one['cpu_ms']:.1f} ms of processor, {one['caller_ms']:.1f} of it the caller's"
    )
