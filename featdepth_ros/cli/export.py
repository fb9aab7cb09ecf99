"""``featdepth export``: weights as a file for ONNX Runtime, OpenVINO or torch.export."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from featdepth_ros.cli.support.arguments import image_size, whole

if TYPE_CHECKING:
    from featdepth_ros.export.export import ExportResult

DESCRIPTION = """Export weights to a file for another runtime.

One graph computes depth and motion, and encodes each frame once. The file is compared with PyTorch on frames of
--recording, and rejected when the difference is too large. int8 is calibrated on the same frames."""
EXAMPLE = """  featdepth export --weights compact --format onnx --output compact.onnx
  featdepth export --weights compact --format openvino --precision int8 --recording drive.bag --output compact.xml"""


def _batch(text: str) -> int:
    return 0 if text == "dynamic" else whole(1)(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.set_defaults(wrong_usage=parser.error)
    parser.add_argument(
        "--weights", default="compact", metavar="W", help="file, or the name of a model that ships (compact)"
    )
    parser.add_argument("--preset", help="depth range and scale of a published .pth: kitti, kitti_odom, euroc, nyu...")
    parser.add_argument("--format", required=True, choices=["onnx", "openvino", "torch-export"])
    parser.add_argument("--output", required=True, metavar="FILE", help="ends in .onnx, .xml (OpenVINO) or .pt2")
    parser.add_argument("--size", type=image_size, metavar="HxW", help="image size (default: as trained)")
    parser.add_argument("--batch", type=_batch, default=1, metavar="N|dynamic", help="images per call (1)")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "fp16", "int8"])
    parser.add_argument("--recording", metavar="INPUT", help="frames to compare and calibrate on (default: rendered)")
    parser.add_argument("--topic", metavar="T", help="image topic of a bag that has several")
    parser.add_argument("--camera", metavar="FILE|fx,fy,cx,cy", help="calibration, for recordings without one")
    parser.add_argument(
        "--frames",
        type=whole(2),
        default=16,
        metavar="N",
        help="number of these frames, spread over the recording (16)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")


def run(args: argparse.Namespace) -> int:
    """Run the verb. Returns the exit code."""
    from pathlib import Path

    from featdepth_ros.cli.support.check_frames import recording_frames, rendered_frames
    from featdepth_ros.errors import ConfigError
    from featdepth_ros.export.export import ExportRequest, export_model
    from featdepth_ros.files import sha256_of
    from featdepth_ros.models.checkpoints import load_model
    from featdepth_ros.reporting.tables import write_json
    from featdepth_ros.resources import weights_file

    if args.precision == "int8" and not args.recording:
        args.wrong_usage("--precision int8 needs --recording INPUT: a drive with the robot's camera to calibrate on")
    weights = weights_file(args.weights)
    model = load_model(weights, preset=args.preset)
    size = args.size or model.info.input_size
    try:
        output = Path(args.output).expanduser()
        request = ExportRequest(args.format, output, size, args.batch, args.precision, sha256_of(weights))
    except ConfigError as error:
        args.wrong_usage(str(error))
    frames = (
        recording_frames(args.recording, size, args.frames, topic=args.topic, camera=args.camera)
        if args.recording
        else rendered_frames(size, args.frames)
    )
    result = export_model(model, request, frames)
    figures = _figures(result, len(frames.images))
    print(_table(figures))
    if args.json:
        write_json(args.json, figures)
    return 0


def _figures(result: ExportResult, frames: int) -> dict[str, Any]:
    from featdepth_ros.export.onnx_files import OPSET

    facts, parity = result.facts, result.parity
    first, second = parity.abs_rel or (None, None)
    return {
        "files": [str(path) for path in result.files],
        "file_bytes": sum(path.stat().st_size for path in result.files),
        "weights": facts.info.name,
        "weights_sha256": facts.weights_sha256,
        "licence": facts.info.licence,
        "precision": facts.precision,
        "opset": OPSET if result.files[0].suffix == ".onnx" else None,
        "size": list(facts.size),
        "batch": facts.batch or "dynamic",
        "inputs": list(facts.inputs),
        "outputs": list(facts.outputs),
        "frames": frames,
        "errors": parity.errors,
        "tolerances": parity.tolerances,
        "abs_rel_torch": first,
        "abs_rel": second,
        "abs_rel_change": None if first is None or second is None else second / first - 1.0,
    }


def _table(figures: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, dict):
            return ", ".join(f"{key} {number:.2g}" for key, number in value.items())
        if isinstance(value, list):
            return ", ".join(map(str, value))
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return "\n".join(f"{key:<16}{text(value)}" for key, value in figures.items() if value is not None)
