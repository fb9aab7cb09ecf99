"""``featdepth prepare``: decode recordings once into caches for training."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdepth_ros.cli.support.arguments import add_stereo_recording, image_size, not_negative, positive, whole
from featdepth_ros.errors import ConfigError

if TYPE_CHECKING:
    from featdepth_training.prepare.prepare import PrepareConfig

DESCRIPTION = (
    "Decode INPUT once, rectify it and resize it to training size, and write what is worth training on into CACHE: "
    "static, blurred and broken frames are left out, and no sample reaches across a cut or a gap. CACHE holds plain "
    "WebDataset shards. Stop it at any time: the same command goes on where it was."
)
EXAMPLE = """  featdepth prepare drive.bag --topic /camera/image_raw --output caches/drive
  featdepth prepare footage.mp4 --camera 900,900,640,360 --size 192x352 --output caches/footage
  featdepth prepare 2011_09_26_drive_0001_sync 2011_09_26_drive_0002_sync --stereo --output s3://bucket/caches"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "input", nargs="+", metavar="INPUT", help="folder of images, video, bag, KITTI or EuRoC folder; or several"
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="CACHE",
        help="folder of the cache, or a URL (s3://bucket/path); with several INPUTs each gets a cache of its own below",
    )
    add_stereo_recording(
        parser,
        "store the stereo partner's images too: its topic, camera or folder, found by its name when not given; "
        "single frames are kept then, frames without a partner are not",
    )
    parser.add_argument("--size", type=image_size, default=(192, 640), metavar="HxW", help="of the cache (192x640)")
    parser.add_argument(
        "--frames",
        type=whole(1),
        default=3,
        metavar="N",
        help="shortest run of neighbouring frames worth keeping (%(default)s); clips of any length come from it",
    )
    parser.add_argument(
        "--keep-static",
        action="store_true",
        help="keep frames in which nothing moves, and single ones: for training on single images or stereo pairs",
    )
    parser.add_argument(
        "--pseudo-depth",
        action="store_true",
        help="find depth by classical matching too (of the stereo pair, else of earlier frames), for "
        "objective.pseudo_depth; adds it to a cache that is there already",
    )
    parser.add_argument(
        "--min-motion", type=not_negative, default=0.004, help="least motion, share of the width (%(default)s)"
    )
    parser.add_argument("--max-gap", type=positive, default=1.0, metavar="S", help="longest gap, seconds (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the summary there too")


def run(args: argparse.Namespace) -> int:
    """Prepare; returns the exit code."""
    from featdepth_ros.reporting.tables import write_json
    from featdepth_training.prepare.prepare import PrepareConfig
    from featdepth_training.prepare.selection import SelectionConfig

    if args.partner_camera is not None and args.stereo is None:
        raise ConfigError("--partner-camera is the calibration of a stereo partner; give --stereo too")
    height, width = args.size
    config = PrepareConfig(
        height=height,
        width=width,
        frames=args.frames,
        stereo=args.stereo is not None,
        keep_static=args.keep_static,
        selection=SelectionConfig(min_motion=args.min_motion, max_gap_s=args.max_gap),
    )
    single = len(args.input) == 1
    summaries: dict[str, dict[str, Any]] = {}
    for path in args.input:
        name, summary = _prepare_one(path, args, config, None if single else set(summaries))
        summaries[name] = summary
    if args.json is not None:
        write_json(args.json, summaries[next(iter(summaries))] if single else summaries)
    return 0


def _prepare_one(
    path: str, args: argparse.Namespace, config: PrepareConfig, taken: set[str] | None
) -> tuple[str, dict[str, Any]]:
    """Prepare one INPUT; with several, ``taken`` are the names of the caches before it."""
    from featdepth_ros.progress import ProgressBar
    from featdepth_ros.recordings.open import open_recording
    from featdepth_training.prepare.prepare import prepare, summary_table
    from featdepth_training.prepare.pseudo_depth import write_pseudo_depth

    recording = open_recording(
        path, args.topic, args.camera, args.rate, partner=args.stereo, partner_camera=args.partner_camera
    )
    name, output = recording.name, args.output
    if taken is not None:
        number = 2
        while name in taken:
            name, number = f"{recording.name}_{number}", number + 1
        output = f"{args.output.rstrip('/')}/{name}"
    with ProgressBar(f"prepare {recording.name}", len(recording)) as bar:
        try:
            summary = prepare(recording, output, config, bar.update)
        except KeyboardInterrupt:
            bar.write("stopped; finished shards stay, and the same command goes on after them")
            raise
    rows = [("cache", str(output)), *summary_table(summary)]
    if args.pseudo_depth:
        with ProgressBar("match", summary["kept"]) as bar:
            share = write_pseudo_depth(output, bar.update)
        summary = {**summary, "pseudo_depth_share": round(share, 4)}
        rows.append(("pseudo-depth", f"{share:.0%} of the pixels"))
    width = max(len(label) for label, _ in rows)
    print("\n".join(f"{label:<{width}}  {text}" for label, text in rows))
    return name, summary
