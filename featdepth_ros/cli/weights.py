"""``featdepth weights``: show the content of weights files, import published ones."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from featdepth_ros.cli.support.arguments import with_example

if TYPE_CHECKING:
    from featdepth_ros.models.base import FeatDepthModel
    from featdepth_ros.models.weights_io import WeightsFile

DESCRIPTION = "Show the content of weights, or convert published FeatDepth checkpoints (.pth) to safetensors."
_EXAMPLES = (
    "featdepth weights info compact",
    "featdepth weights import fm_depth.pth kitti.safetensors --preset kitti --fp16",
)
EXAMPLE = "\n".join(f"  {example}" for example in _EXAMPLES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two actions and their arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="info|import")
    info_line = "show architecture, parameters, depth range, scale and licence of a file"
    info = actions.add_parser("info", help=info_line, description=info_line, **with_example(_EXAMPLES[0]))
    info.add_argument("file", metavar="FILE", help="weights, or the name of a model that ships")
    info.add_argument(
        "--preset", metavar="NAME", help="depth range and scale of a published .pth: kitti, kitti_odom, euroc, nyu..."
    )
    info.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    load_line = "convert a published .pth to safetensors"
    load = actions.add_parser("import", help=load_line, description=load_line, **with_example(_EXAMPLES[1]))
    load.add_argument("source", metavar="IN.pth", help="published checkpoint, or any weights that 'info' can read")
    load.add_argument("target", metavar="OUT.safetensors", help="file to write; replaced if it exists")
    load.add_argument("--preset", metavar="NAME", help="training dataset: kitti, kitti_odom, euroc, nyu...")
    load.add_argument("--name", help="name of the model (default: the preset's, or the file's)")
    load.add_argument("--fp16", action="store_true", help="store kernels as float16, which halves the file")
    load.add_argument("--json", metavar="FILE", help="write the figures to FILE")


def run(args: argparse.Namespace) -> int:
    """Run ``info`` or ``import``. Returns the exit code."""
    return _info(args) if args.action == "info" else _import(args)


def _info(args: argparse.Namespace) -> int:
    from featdepth_ros.models.checkpoints import model_from_weights
    from featdepth_ros.models.weights_io import read_weights
    from featdepth_ros.reporting.tables import write_json
    from featdepth_ros.resources import weights_file

    weights = read_weights(weights_file(args.file))
    figures = _figures(weights, model_from_weights(weights, preset=args.preset))
    _print(figures)
    if args.json:
        write_json(args.json, figures)
    return 0


def _import(args: argparse.Namespace) -> int:
    from pathlib import Path

    import torch

    from featdepth_ros.errors import CheckpointError
    from featdepth_ros.models.checkpoints import model_from_weights, save_model
    from featdepth_ros.models.weights_io import read_weights
    from featdepth_ros.reporting.tables import write_json
    from featdepth_ros.resources import weights_file

    source, target = weights_file(args.source), Path(args.target).expanduser()
    if target.suffix != ".safetensors":
        raise CheckpointError(f"the target is '{target}'; expected a name that ends in .safetensors")
    weights = read_weights(source)
    model = model_from_weights(weights, preset=args.preset)
    if args.name:
        model.info = model.info.with_(name=args.name)
    save_model(target, model, torch.float16 if args.fp16 else torch.float32)
    figures = _figures(read_weights(target), model) | {"source": str(source), "dropped": list(weights.dropped)}
    _print(figures)
    print(f"dropped         {', '.join(weights.dropped) or 'nothing'}")
    print(f"written         {target}")
    if args.json:
        write_json(args.json, figures)
    return 0


def _figures(weights: WeightsFile, model: FeatDepthModel) -> dict[str, Any]:
    info = model.info
    counts = model.parameter_counts()
    return {
        "file": str(weights.path),
        "file_bytes": weights.path.stat().st_size,
        "format": weights.format,
        "stored": weights.stored,
        "name": info.name,
        "architecture": info.architecture,
        "nets": list(model.nets),
        "parameters": counts,
        "parameters_total": sum(counts.values()),
        "min_depth": info.min_depth,
        "max_depth": info.max_depth,
        "input_size": list(info.input_size),
        "pose_input_size": list(info.pose_input_size),
        "focal": None if info.focal is None else list(info.focal),
        "scale_kind": info.scale_kind,
        "scale_factor": info.scale_factor,
        "metric_height_m": info.metric_height_m or None,
        "metric_place": info.metric_place or None,
        "scale_sigma": info.scale_sigma,
        "licence": info.licence,
        "training": info.training,
    }


def _where_metres_hold(figures: dict[str, Any]) -> str:
    if figures["metric_height_m"] is None:
        return "not stored; metres are unverified everywhere"
    return (
        f"{figures['metric_place']}, camera {figures['metric_height_m']:g} m above the ground, to "
        f"{100 * figures['scale_sigma']:.0f} %; unverified elsewhere"
    )


def _print(figures: dict[str, Any]) -> None:
    height, width = figures["input_size"]
    pose_height, pose_width = figures["pose_input_size"]
    metric = figures["scale_kind"] == "metric"
    focal = figures["focal"]
    rows = {
        "file": f"{figures['file']} ({figures['file_bytes'] / 1e6:.1f} MB, {figures['format']}, "
        + ", ".join(f"{count} {dtype}" for dtype, count in sorted(figures["stored"].items()))
        + ")",
        "name": figures["name"],
        "architecture": figures["architecture"],
        "nets": ", ".join(figures["nets"]),
        **{f"  {part}": f"{count:,} parameters" for part, count in figures["parameters"].items()},
        "  together": f"{figures['parameters_total']:,} parameters",
        "depth range": f"{figures['min_depth']:g} to {figures['max_depth']:g} network units",
        "scale": f"metric, {figures['scale_factor']:g} m a unit" if metric else "relative",
        **({"metres hold": _where_metres_hold(figures)} if metric else {}),
        "input": f"{width}x{height} pixels, pose {pose_width}x{pose_height}",
        "training focal": "unknown" if focal is None else f"{focal[0]:.4f} of the width, {focal[1]:.4f} of the height",
        "licence": figures["licence"],
        "training": figures["training"] or "not told",
    }
    for name, value in rows.items():
        print(f"{name:<15} {value}")
