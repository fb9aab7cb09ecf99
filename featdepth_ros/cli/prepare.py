"""``featdepth prepare``: decode a recording once into a cache for training."""

from __future__ import annotations

import argparse
from pathlib import Path

from featdepth_ros.cli.arguments import image_size, not_negative, positive, whole

DESCRIPTION = (
    "Decode INPUT once, rectify it and resize it to training size, and write what is worth training on into CACHE: "
    "static, blurred and broken frames are left out, and no sample reaches across a cut or a gap."
)
EXAMPLE = """  featdepth prepare drive.bag --topic /camera/image_raw --output caches/drive
  featdepth prepare footage.mp4 --camera 900,900,640,360 --size 192x352 --output caches/footage"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("input", metavar="INPUT", help="folder of images, video, bag, KITTI or EuRoC folder")
    parser.add_argument("--output", required=True, type=Path, metavar="CACHE", help="folder of the cache")
    parser.add_argument("--topic", metavar="T", help="image topic of a bag, camera of a data set with several")
    parser.add_argument(
        "--camera", metavar="FILE|fx,fy,cx,cy", help="calibration file, or intrinsics in pixels of the input"
    )
    parser.add_argument("--rate", type=positive, metavar="HZ", help="frames per second of inputs without stamps (10)")
    parser.add_argument("--size", type=image_size, default=(192, 640), metavar="HxW", help="of the cache (192x640)")
    parser.add_argument("--frames", type=whole(2), default=3, metavar="N", help="frames of a sample (%(default)s)")
    parser.add_argument(
        "--min-motion", type=not_negative, default=0.004, help="least motion, share of the width (%(default)s)"
    )
    parser.add_argument("--max-gap", type=positive, default=1.0, metavar="S", help="longest gap, seconds (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the summary there too")


def run(args: argparse.Namespace) -> int:
    """Prepare; returns the exit code."""
    from tqdm import tqdm

    from featdepth_ros.recordings.open import open_recording
    from featdepth_ros.reporting.tables import write_json
    from featdepth_training.prepare import PrepareConfig, SelectionConfig, prepare

    height, width = args.size
    selection = SelectionConfig(min_motion=args.min_motion, max_gap_s=args.max_gap)
    config = PrepareConfig(height=height, width=width, frames=args.frames, selection=selection)
    recording = open_recording(args.input, args.topic, args.camera, args.rate)
    with tqdm(total=len(recording), unit="frame", desc=f"preparing {recording.name}", dynamic_ncols=True) as bar:
        summary = prepare(recording, args.output, config, bar.update)
    chosen = ", ".join(f"{name} {count}" for name, count in summary["selected"].items())
    print(f"{summary['clips']} clips of {args.frames} frames from {summary['frames']} frames ({chosen}), "
          f"{len(summary['unreadable'])} unreadable: {args.output}")  # fmt: skip
    if args.json is not None:
        write_json(args.json, summary)
    return 0
