"""``featdepth record``: ROS 2 topics into a bag."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

DESCRIPTION = """Write ROS 2 topics into a new bag until Ctrl-C, SIGTERM or the end of --duration.

Topics that appear later are recorded too; reliability and durability follow what the publishers offer."""
EXAMPLE = """  featdepth record --output run1 --topics /camera/image_raw /camera/camera_info /tf_static
  featdepth record --output run2 --all --duration 30 --storage mcap"""


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds above 0")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument("--output", type=Path, required=True, metavar="BAG", help="folder of the bag to create")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--topics", nargs="+", metavar="TOPIC", help="topics to record")
    which.add_argument("--all", action="store_true", help="record every topic but /rosout and /parameter_events")
    parser.add_argument("--duration", type=_seconds, metavar="S", help="stop after S seconds")
    parser.add_argument("--storage", choices=("sqlite3", "mcap"), default="sqlite3", help="file format")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was recorded as JSON")


def run(args: argparse.Namespace) -> int:
    """Record until a signal, the end of the time or a full disk."""
    from tqdm import tqdm

    from featdepth_ros.errors import RecordingError
    from featdepth_ros.recordings.bag_writer import BagWriter
    from featdepth_ros.ros.recorder import Recorder
    from featdepth_ros.ros.session import ros_session

    with ros_session("featdepth_recorder") as (node, stop), BagWriter(args.output, args.storage) as bag:
        print(f"recording {'all topics' if args.all else ' '.join(args.topics)} into {args.output}", flush=True)
        with tqdm(unit="msg", disable=None) as bar:
            report = Recorder(node, bag, args.topics, bar.update).record(stop, args.duration)
        try:
            bag.close()
        except RecordingError as error:
            report.ended = f"{report.ended}; {error}"
    return _tell(report, args)


def _tell(report: Any, args: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from featdepth_ros.errors import FeatDepthError

    for topic, reason in report.left_out.items():
        print(f"note: {topic} was not recorded: {reason}")
    for topic in args.topics or ():
        name = topic if topic.startswith("/") else f"/{topic}"
        if name not in report.messages and name not in report.left_out:
            print(f"note: {name} was not recorded: nobody published it")
    for topic, count in sorted(report.messages.items()):
        print(f"  {count:7d}  {topic}")
    total = sum(report.messages.values())
    print(f"recorded {total} messages in {report.elapsed_s:.1f} s into {args.output} ({report.ended})")
    if args.json is not None:
        try:
            args.json.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise FeatDepthError(f"'{args.json}' cannot be written: {error.strerror}") from error
    return 0 if report.ended in ("stopped", "the time is over", "ROS was shut down") else 1
