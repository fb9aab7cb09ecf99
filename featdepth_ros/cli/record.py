"""``featdepth record``: record ROS 2 topics into a bag."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from featdepth_ros.cli.support.arguments import positive, topic_name

DESCRIPTION = """Record ROS 2 topics into a new bag until Ctrl-C, SIGTERM or the end of --duration.

Topics that appear later are recorded too; reliability and durability follow what the publishers offer."""
EXAMPLE = """  featdepth record --output run1 --topics /camera/image_raw /camera/camera_info /tf_static
  featdepth record --output run2 --all --duration 30 --storage mcap"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--output", type=Path, required=True, metavar="BAG", help="folder of the bag to create")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--topics", nargs="+", type=topic_name, metavar="TOPIC", help="topics to record")
    which.add_argument("--all", action="store_true", help="record every topic but /rosout and /parameter_events")
    parser.add_argument("--duration", type=positive, metavar="S", help="stop after S seconds")
    parser.add_argument("--storage", choices=("sqlite3", "mcap"), default="sqlite3", help="file format")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a report of the recording to FILE as JSON")


def run(args: argparse.Namespace) -> int:
    """Record until a signal, the end of --duration or a full disk. Returns the exit code."""
    from featdepth_ros.errors import RecordingError
    from featdepth_ros.progress import ProgressBar
    from featdepth_ros.recordings.bags.writer import BagWriter
    from featdepth_ros.ros.playback.command_node import command_node
    from featdepth_ros.ros.playback.recorder import Recorder

    with command_node("featdepth_recorder") as (node, stop), BagWriter(args.output, args.storage) as bag:
        print(f"recording {'all topics' if args.all else ' '.join(args.topics)} into {args.output}", flush=True)
        with ProgressBar("record", unit="msg") as bar:
            report = Recorder(node, bag, args.topics, bar.update).record(stop, args.duration)
        try:
            bag.close()
        except RecordingError as error:
            report.ended = f"{report.ended}; {error}"
    return _print_report(report, args)


def _print_report(report: Any, args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from featdepth_ros.reporting.tables import write_json

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
        write_json(args.json, asdict(report))
    return 0 if report.ended in ("stopped", "the time is over", "ROS was shut down") else 1
