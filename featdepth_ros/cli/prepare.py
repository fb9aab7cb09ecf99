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
    "Decode INPUT once, rectify it and resize it to training size, and write what is worth training on into CACHE: "
    "static, blurred and broken frames are left out, and no sample reaches across a cut or a gap. CACHE holds plain "
    "WebDataset shards. Several INPUTs get a cache each, and those that cannot be used are named and left out. Stop it "
    "at any time: the same command goes on where it was. --camera guess takes recordings that nobody has calibrated: "
    "the focal length comes from how the pictures move, or is learnt in training where they do not tell it."
)
#: What --camera says of recordings whose camera nobody knows.
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
        help="folder of images, video, bag, KITTI or EuRoC folder, or a URL of one (s3://, with * several); or several",
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
        type=part_or_whole,
        metavar="A:B",
        help="a part of each recording: its frames from A up to, not including, B, counted from 0 (a number alone is "
        "what --shortest says)",
    )
    parser.add_argument(
        "--shortest",
        type=whole(1),
        default=3,
        metavar="N",
        help="shortest run of neighbouring frames worth keeping (%(default)s); clips of any length come from it",
    )
    parser.add_argument(
        "--split",
        type=Path,
        metavar="FILE",
        help="lines '<drive> <frame> l|r' of KITTI: INPUT is the data set's folder; frames that are named are kept "
        "with their neighbours, whatever moves, in a cache for each drive and side",
    )
    parser.add_argument(
        "--jobs", type=whole(1), default=1, metavar="N", help="work on N recordings at once (%(default)s)"
    )
    parser.add_argument("--strict", action="store_true", help="end at the first INPUT that cannot be used")
    parser.add_argument(
        "--store",
        default="raw",
        choices=("raw", "jpeg", "png"),
        help="images as plain arrays (read fastest), JPEG (a tenth of the room) or PNG (no loss); default %(default)s",
    )
    parser.add_argument(
        "--no-laser", action="store_true", help="leave out the depth of KITTI's laser, by which training is measured"
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
    """Prepare; returns the exit code: 1 when not one INPUT could be used."""
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
                bar.write("stopped; finished shards stay, and the same command goes on after them")
                raise
    if left_out:
        print(f"{len(summaries)} of {len(inputs)} recordings prepared, {len(left_out)} left out", file=sys.stderr)
    if args.json is not None:
        reasons = {outcome.given.path: outcome.reason for outcome in left_out}
        several = summaries if not reasons else {**summaries, "left_out": reasons}
        write_json(args.json, next(iter(summaries.values())) if single else several)
    if not summaries:
        raise FeatDepthError(f"not one of the {len(inputs)} recordings could be used; the first: {left_out[0].reason}")
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
    """The recordings, each with all that is asked of it."""
    from featdepth_training.prepare.inputs import Input, expanded
    from featdepth_training.prepare.split import inputs_of_split, read_split

    if args.partner_camera is not None and args.stereo is None:
        raise ConfigError("--partner-camera is the calibration of a stereo partner; give --stereo too")
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
            raise ConfigError("--split names drives, cameras and frames of one INPUT, the data set's folder; "
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
