"""``featdepth prepare``: decode recordings once into caches for training."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdepth_ros.cli.support.arguments import (
    add_stereo_recording,
    image_size,
    not_negative,
    part_or_whole,
    positive,
    whole,
)
from featdepth_ros.errors import ConfigError, FeatDepthError

if TYPE_CHECKING:
    from featdepth_training.prepare.config import PrepareConfig
    from featdepth_training.prepare.inputs import Input
    from featdepth_training.prepare.many import Outcome

DESCRIPTION = (
    "Decode INPUT once, rectify it, resize it to the training size, and write the useful frames into CACHE. Static, "
    "blurred and broken frames are left out, and no sample spans a cut or a gap. CACHE holds plain WebDataset shards. "
    "Each of several INPUTs gets its own cache; unusable ones are named and left out. You can stop the command at any "
    "time; the same command continues where it stopped. --camera guess accepts recordings of uncalibrated cameras: the "
    "focal length is estimated from the motion of the images, or learned in training where that fails."
)
#: Value of --camera for recordings of an uncalibrated camera.
GUESS = "guess"
EXAMPLE = """  featdepth prepare drive.bag --topic /camera/image_raw --output caches/drive
  featdepth prepare footage.mp4 --camera 900,900,640,360 --size 192x352 --output caches/footage
  featdepth prepare bags/*.mcap --topic /camera/image_raw --jobs 4 --store jpeg --output caches/fleet
  featdepth prepare KITTI --split train_files.txt --stereo --size 320x1024 --output caches/eigen_zhou
  featdepth prepare 's3://bucket/bags/*.mcap' --output s3://bucket/caches"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "input",
        nargs="+",
        metavar="INPUT",
        help="one or several of: folder of images, video, bag, KITTI or EuRoC folder, or a URL (s3://, may contain *)",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="CACHE",
        help="folder of the cache, or a URL (s3://bucket/path); each of several INPUTs gets a subfolder",
    )
    add_stereo_recording(
        parser,
        "also store the images of the stereo partner: its topic, camera or folder (default: found by its name); "
        "this keeps single frames and drops frames without a partner",
    )
    parser.add_argument(
        "--size", type=image_size, default=(192, 640), metavar="HxW", help="image size in the cache (192x640)"
    )
    parser.add_argument(
        "--frames",
        type=part_or_whole,
        metavar="A:B",
        help="part of each recording: frames from A up to B, B excluded, counted from 0 (a single number means "
        "--shortest)",
    )
    parser.add_argument(
        "--shortest",
        type=whole(1),
        default=3,
        metavar="N",
        help="shortest run of consecutive frames that is kept (%(default)s); training can draw longer clips too",
    )
    parser.add_argument(
        "--split",
        type=Path,
        metavar="FILE",
        help="KITTI split with lines '<drive> <frame> l|r'; INPUT is then the dataset's folder. The named frames and "
        "their neighbours are kept, static ones too, in a cache for each drive and side",
    )
    parser.add_argument(
        "--jobs", type=whole(1), default=1, metavar="N", help="number of recordings prepared at once (%(default)s)"
    )
    parser.add_argument("--strict", action="store_true", help="stop at the first INPUT that cannot be used")
    parser.add_argument(
        "--store",
        default="raw",
        choices=("raw", "jpeg", "png"),
        help="image format: raw arrays (fastest), jpeg (a tenth of the size) or png (lossless); default %(default)s",
    )
    parser.add_argument(
        "--no-laser", action="store_true", help="leave out the depth of KITTI's laser, which validates the training"
    )
    parser.add_argument(
        "--keep-static",
        action="store_true",
        help="also keep static and single frames, for training on single images or stereo pairs",
    )
    parser.add_argument(
        "--pseudo-depth",
        action="store_true",
        help="also compute depth by classical matching (of the stereo pair, else of earlier frames) for "
        "objective.pseudo_depth; works on an existing cache too",
    )
    parser.add_argument(
        "--min-motion",
        type=not_negative,
        default=0.004,
        help="smallest image motion of a kept frame, as a share of the width (%(default)s)",
    )
    parser.add_argument(
        "--max-gap", type=positive, default=1.0, metavar="S", help="longest gap in a run, seconds (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the summary to FILE")


def run(args: argparse.Namespace) -> int:
    """Prepare all inputs. Returns 0.

    Raises:
        FeatDepthError: no INPUT could be used.
    """
    from featdepth_ros.progress import ProgressBar
    from featdepth_ros.reporting.tables import write_json
    from featdepth_training.prepare.many import Preparation

    inputs = _inputs(args)
    single = not inputs[0].below
    summaries: dict[str, dict[str, Any]] = {}
    with Preparation(inputs, args.jobs, args.strict or single) as work:
        left_out = work.survey()
        for outcome in left_out:
            print(_why(outcome), file=sys.stderr)
        label = f"prepare {work.usable[0].name}" if single else f"prepare {len(inputs)} recordings"
        with ProgressBar(label, work.frames or None) as bar:
            try:
                for outcome in work.prepare(bar.update):
                    if outcome.summary is None:
                        left_out.append(outcome)
                        bar.write(_why(outcome))
                    else:
                        summaries[outcome.given.name] = outcome.summary
                        bar.write(_table(outcome))
                    bar.status(f"{len(summaries) + len(left_out)}/{len(inputs)} recordings")
            except KeyboardInterrupt:
                bar.write("stopped; finished shards are kept, and the same command continues after them")
                raise
    if left_out:
        print(f"{len(summaries)} of {len(inputs)} recordings prepared, {len(left_out)} left out", file=sys.stderr)
    if args.json is not None:
        reasons = {outcome.given.path: outcome.reason for outcome in left_out}
        several = summaries if not reasons else {**summaries, "left_out": reasons}
        write_json(args.json, next(iter(summaries.values())) if single else several)
    if not summaries:
        raise FeatDepthError(f"none of the {len(inputs)} recordings could be used; the first: {left_out[0].reason}")
    return 0


def _why(outcome: Outcome) -> str:
    return f"left out: {outcome.given.path}: {outcome.reason}"


def _config(args: argparse.Namespace) -> PrepareConfig:
    from featdepth_ros.recordings.selection import SelectionConfig
    from featdepth_training.prepare.config import PrepareConfig

    height, width = args.size
    part = args.frames if isinstance(args.frames, tuple) else None
    return PrepareConfig(
        height=height,
        width=width,
        frames=args.frames if isinstance(args.frames, int) else args.shortest,
        stereo=args.stereo is not None,
        keep_static=args.keep_static,
        selection=SelectionConfig(min_motion=args.min_motion, max_gap_s=args.max_gap),
        part=part,
        storage=args.store,
    )


def _inputs(args: argparse.Namespace) -> list[Input]:
    """Return the recordings to prepare, each with its settings.

    Raises:
        ConfigError: flags contradict each other.
    """
    from featdepth_training.prepare.inputs import Input, expanded
    from featdepth_training.prepare.split import inputs_of_split, read_split

    if args.partner_camera is not None and args.stereo is None:
        raise ConfigError("--partner-camera is the calibration of a stereo partner; add --stereo")
    common = Input(
        path=args.input[0],
        output=args.output,
        config=_config(args),
        topic=args.topic,
        camera=None if args.camera == GUESS else args.camera,
        rate_hz=args.rate,
        partner=args.stereo,
        partner_camera=args.partner_camera,
        pseudo_depth=args.pseudo_depth,
        laser=not args.no_laser,
        guess=args.camera == GUESS,
    )
    if args.split is not None:
        if len(args.input) > 1 or args.topic is not None or args.frames is not None:
            raise ConfigError("--split names drives, cameras and frames of one INPUT, the dataset's folder; "
                              "leave out --topic and --frames, and give one INPUT")  # fmt: skip
        return inputs_of_split(common, read_split(args.split))
    paths = [path for given in args.input for path in expanded(given)]
    below = len(args.input) > 1 or len(paths) > 1
    return [replace(common, path=path, below=below) for path in paths]


def _table(outcome: Outcome) -> str:
    from featdepth_training.prepare.summary import summary_table

    assert outcome.summary is not None
    rows = [("cache", outcome.given.cache), *summary_table(outcome.summary)]
    share = outcome.summary.get("pseudo_depth_share")
    if share is not None:
        rows.append(("pseudo-depth", f"{share:.0%} of the pixels"))
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)
