"""``featdepth infer``: depth and motion of a whole recording, as files."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from featdepth_ros.cli.support.arguments import image_size, positive
from featdepth_ros.inference.options import Option, options

if TYPE_CHECKING:
    from featdepth_ros.inference.config import EstimatorConfig
    from featdepth_ros.recordings import Recording

DESCRIPTION = """Estimate depth and camera motion for every frame of INPUT.

INPUT is an image, a folder of images, a video, a ROS 1 or ROS 2 bag, or a KITTI or EuRoC folder. Writes under DIR:
  depth/<stem>.npy        float32 z-depth at the input's size, metres when the scale is metric
  sigma/<stem>.npy        float32 standard deviation of the depth, same unit; only if the model estimates one
  valid/<stem>.png        255 where the depth is reliable, else 0
  preview/<stem>.png      image and depth, one above the other
  trajectory.kitti.txt    camera-to-world pose of each frame, 12 numbers a line, the first the identity
  trajectory.tum.txt      the same with stamps: seconds, position, quaternion xyzw
  trajectory.covariance.npy  (N, 6, 6) of each motion from the previous frame: x y z, then rotation, m^2 and rad^2, in
                          the optical axes of the previous frame; entry 0 is that of an unknown motion
  summary.json            model, settings, frame rate and unit of the results"""

#: Options of the estimator that are flags of this verb; the node has more.
_ESTIMATOR_FLAGS = (
    *("depth", "motion", "scale", "scale_factor", "camera_height_m", "min_depth", "max_depth", "rolling_shutter_s"),
    *("max_speed_mps", "max_turn_rps", "noise_free_camera"),
)
_BACKEND_FLAGS = ("backend", "backend_cache", "backend_cache_mb")
_METAVARS = {
    "weights": "W",
    "camera_height_m": "M",
    "rolling_shutter_s": "S",
    "convention": "NAME|FILE",
    "backend_cache": "DIR",
    "backend_cache_mb": "MB",
    "speed_topic": "T",
    "imu_topic": "T",
}

#: Unit of the depth, by kind of scale.
_UNITS = {
    "metric": "m",
    "metric_unverified": "m (unverified: give --camera-height with --scale camera_height, or --speed-topic)",
    "relative": "model units (the scale is relative)",
}

EXAMPLE = "  featdepth infer drive.mp4 --output out --camera 718.9,718.9,607.2,185.2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.set_defaults(wrong_usage=parser.error)
    parser.add_argument("input", metavar="INPUT", help="image, folder, video, bag, KITTI or EuRoC folder")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    for option in options("weights", "preset", "convention"):
        _add_flag(parser, option)
    parser.add_argument("--topic", metavar="T", help="image topic of a bag that has several")
    parser.add_argument(
        "--camera", metavar="FILE|fx,fy,cx,cy", help="calibration file, or intrinsics in pixels of the input"
    )
    parser.add_argument("--rate", type=positive, metavar="HZ", help="frames per second of inputs without stamps (10)")
    for option in options("device", "precision", *_BACKEND_FLAGS):
        _add_flag(parser, option)
    parser.add_argument(
        "--input-size", type=image_size, metavar="HxW", help="size the networks run at (default: as trained)"
    )
    for option in options(*_ESTIMATOR_FLAGS, "speed_topic", "imu_topic"):
        _add_flag(parser, option)
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run in DIR")
    parser.add_argument("--json", metavar="FILE", help="also write the summary to FILE")


def _add_flag(parser: argparse.ArgumentParser, option: Option) -> None:
    """Declare the flag of an option: ``--camera-height`` for ``camera_height_m``, with its default, limits and text."""
    flag = "--" + option.name.removesuffix("_m").removesuffix("_s").replace("_", "-")
    text = option.description.replace("%", "%%")
    metavar = _METAVARS.get(option.name)
    if option.choices:
        parser.add_argument(
            flag, dest=option.name, default=option.default, type=_word(option), choices=option.choices, help=text
        )
    elif isinstance(option.default, bool):
        assert not option.default, "a flag can only switch something on"
        parser.add_argument(flag, dest=option.name, action="store_true", help=text)
    elif isinstance(option.default, float):
        text = f"{text} ({option.range_text}, default {option.default:g})"
        parser.add_argument(
            flag, dest=option.name, default=option.default, type=_reader(option), metavar=metavar, help=text
        )
    else:
        parser.add_argument(flag, dest=option.name, default=option.default, metavar=metavar, help=text)


def _word(option: Option) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text in dict(option.replaced):  # argparse names the choices, but not the replacement of a former one
            raise argparse.ArgumentTypeError(option.invalid_reason(text))
        return text

    return read


def _reader(option: Option) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text) if option.low == 0 else positive(text)
        reason = option.invalid_reason(value)
        if reason:
            raise argparse.ArgumentTypeError(reason)
        return value

    return read


def _config(args: argparse.Namespace) -> EstimatorConfig:
    from featdepth_ros.errors import ConfigError
    from featdepth_ros.inference.config import EstimatorConfig
    from featdepth_ros.inference.sensing.sensors import scale_with_sensors

    given = {name: getattr(args, name) for name in ("precision", *_BACKEND_FLAGS, *_ESTIMATOR_FLAGS)}
    try:
        given["scale"] = scale_with_sensors(args.scale, args.speed_topic)
        return EstimatorConfig(output_size="network", input_size=args.input_size, **given)
    except ConfigError as error:
        args.wrong_usage(str(error))
        raise


def run(args: argparse.Namespace) -> int:
    """Run the verb. Returns the exit code."""
    import torch

    from featdepth_ros import resources
    from featdepth_ros.cli.support.infer_output import InferOutput
    from featdepth_ros.cli.support.infer_sensors import add_sensors
    from featdepth_ros.cli.support.read_ahead import read_ahead
    from featdepth_ros.errors import RecordingError
    from featdepth_ros.inference.backends.loading import load_networks
    from featdepth_ros.inference.estimator import Estimator
    from featdepth_ros.progress import progress
    from featdepth_ros.recordings import open_recording
    from featdepth_ros.reporting.tables import write_json
    from featdepth_ros.threads import single_threaded_linear_algebra, threads_of_networks

    config = _config(args)
    recording = open_recording(args.input, topic=args.topic, camera=args.camera, rate_hz=args.rate)
    weights = resources.weights_file(args.weights)
    model = load_networks(weights, args.preset or None, args.convention)
    single_threaded_linear_algebra()
    torch.set_num_threads(min(torch.get_num_threads(), threads_of_networks()))
    estimator = Estimator(model, config, device=args.device)
    add_sensors(estimator, recording, args.speed_topic, args.imu_topic)
    with InferOutput(Path(args.output), overwrite=args.overwrite) as output:
        start = time.perf_counter()
        for number, frame in enumerate(progress(read_ahead(recording), "infer", len(recording))):
            if not number:
                # The first run of the networks sets up kernels. It belongs to the start-up, not to the frame rate.
                delivered_size = (frame.image.shape[1], frame.image.shape[0])
                estimator.build_backend(delivered_size, len(recording))
                estimator.warm_up(delivered_size)
                start = time.perf_counter()
            estimate = estimator.step(frame.image, frame.camera, frame.stamp_ns)
            output.add(frame, estimate, estimator)
        if not output.frames:
            raise RecordingError(_no_frames(args.input, recording))
        output.finish_files()
        seconds = time.perf_counter() - start
        summary = output.summary(estimator, recording, seconds=seconds, weights=str(weights), source=args.input)
    if args.json:
        write_json(args.json, summary)
    unit = _UNITS[summary["scale_kind"]]
    print(
        f"{summary['frames']} frames at {summary['fps']:.1f} frames/s on {summary['device']} ({summary['precision']}), "
        f"depth in {unit}; {len(recording.skipped)} broken frames skipped; results in {args.output}"
    )
    return 0


def _no_frames(source: str, recording: Recording) -> str:
    broken = "; ".join(f"{skipped.name}: {skipped.reason}" for skipped in recording.skipped[:3])
    return f"no frame of '{source}' could be read ({len(recording.skipped)} broken{': ' + broken if broken else ''})"
