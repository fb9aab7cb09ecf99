"""``featdepth infer``: depth and motion of a whole recording, as files."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from featdepth_ros.cli.support.arguments import image_size, positive

if TYPE_CHECKING:
    from featdepth_ros.inference.config import EstimatorConfig
    from featdepth_ros.recordings import Recording

DESCRIPTION = """Estimate depth and camera motion for every frame of INPUT.

INPUT is an image, a folder of images, a video, a ROS 1 or ROS 2 bag, or a KITTI or EuRoC folder. Writes under DIR:
  depth/<stem>.npy        float32 z-depth at the input's size, metres when the scale is metric
  sigma/<stem>.npy        float32 standard deviation of the depth, same unit; only where the estimate gives one
  valid/<stem>.png        255 where the depth is to be trusted, else 0
  preview/<stem>.png      image and depth, one above the other
  trajectory.kitti.txt    camera-to-world pose of each frame, 12 numbers a line, the first the identity
  trajectory.tum.txt      the same with stamps: seconds, position, quaternion xyzw
  trajectory.covariance.npy  (N, 6, 6) of each motion since the frame before: x y z, then rotation, m^2 and rad^2, in
                          the earlier camera's optical axes; the first is that of an unknown motion
  summary.json            what ran, how fast, and what the numbers mean"""

EXAMPLE = "  featdepth infer drive.mp4 --output out --camera 718.9,718.9,607.2,185.2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.set_defaults(wrong_usage=parser.error)
    parser.add_argument("input", metavar="INPUT", help="image, folder, video, bag, KITTI or EuRoC folder")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--weights", default="compact", metavar="W", help="file, or the name of a model that ships")
    parser.add_argument("--preset", help="depth range and scale of a published .pth: kitti, kitti_odom, euroc, nyu...")
    parser.add_argument("--topic", metavar="T", help="image topic of a bag that has several")
    parser.add_argument(
        "--camera", metavar="FILE|fx,fy,cx,cy", help="calibration file, or intrinsics in pixels of the input"
    )
    parser.add_argument("--rate", type=positive, metavar="HZ", help="frames per second of inputs without stamps (10)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument(
        "--input-size", type=image_size, metavar="HxW", help="size the networks run at (default: as trained)"
    )
    parser.add_argument(
        "--motion",
        default="auto",
        choices=["auto", "network", "aligned"],
        help="of the pose network alone, or sharpened on tracked points (auto: with the compact model)",
    )
    parser.add_argument("--scale", default="auto", choices=["auto", "relative", "factor", "camera_height"])
    parser.add_argument(
        "--scale-factor", type=positive, default=1.0, help="metres per network unit, for --scale factor"
    )
    parser.add_argument("--camera-height", type=positive, default=1.5, metavar="M", help="for --scale camera_height")
    parser.add_argument("--min-depth", type=positive, default=0.1, help="nearest valid depth (0.1)")
    parser.add_argument("--max-depth", type=positive, default=80.0, help="farthest valid depth (80)")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run in DIR")
    parser.add_argument("--json", metavar="FILE", help="write the summary there too")


def _config(args: argparse.Namespace) -> EstimatorConfig:
    from featdepth_ros.errors import ConfigError
    from featdepth_ros.inference.config import EstimatorConfig

    try:
        return EstimatorConfig(
            output_size="network",
            input_size=args.input_size,
            precision=args.precision,
            motion=args.motion,
            scale=args.scale,
            scale_factor=args.scale_factor,
            camera_height_m=args.camera_height,
            min_depth=args.min_depth,
            max_depth=args.max_depth,
        )
    except ConfigError as error:
        args.wrong_usage(str(error))
        raise


def run(args: argparse.Namespace) -> int:
    """Run the verb. Returns the exit code."""
    from featdepth_ros import resources
    from featdepth_ros.cli.support.infer_output import InferOutput
    from featdepth_ros.errors import RecordingError
    from featdepth_ros.inference.estimator import Estimator
    from featdepth_ros.models.checkpoints import load_model
    from featdepth_ros.progress import progress
    from featdepth_ros.recordings import open_recording
    from featdepth_ros.reporting.tables import write_json

    config = _config(args)
    recording = open_recording(args.input, topic=args.topic, camera=args.camera, rate_hz=args.rate)
    weights = resources.weights_file(args.weights)
    model = load_model(weights, preset=args.preset)
    estimator = Estimator(model, config, device=args.device)
    with InferOutput(Path(args.output), overwrite=args.overwrite) as output:
        # The first run of the networks sets kernels up; it is start-up, not speed.
        estimator.warm_up((estimator.size[1], estimator.size[0]))
        start = time.perf_counter()
        for frame in progress(recording, "infer", len(recording)):
            estimate = estimator.step(frame.image, frame.camera, frame.stamp_ns)
            output.add(frame, estimate, estimator)
        if not output.frames:
            raise RecordingError(_no_frames(args.input, recording))
        output.finish_files()
        seconds = time.perf_counter() - start
        summary = output.summary(estimator, recording, seconds=seconds, weights=str(weights), source=args.input)
    if args.json:
        write_json(args.json, summary)
    unit = "m" if summary["scale_kind"] == "metric" else "model units (the scale is relative)"
    print(
        f"{summary['frames']} frames at {summary['fps']:.1f} frames/s on {summary['device']} ({summary['precision']}), "
        f"depth in {unit}; {len(recording.skipped)} broken frames skipped; results in {args.output}"
    )
    return 0


def _no_frames(source: str, recording: Recording) -> str:
    broken = "; ".join(f"{skipped.name}: {skipped.reason}" for skipped in recording.skipped[:3])
    return f"no frame of '{source}' could be read ({len(recording.skipped)} broken{': ' + broken if broken else ''})"
