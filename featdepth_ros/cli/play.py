"""``featdepth play``: publish a recording on ROS 2 topics."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from featdepth_ros.cli.support.arguments import not_negative, positive, topic_name

DESCRIPTION = """Publish a recording on ROS 2 topics at the rate it was recorded.

Every topic of a ROS 1 or ROS 2 bag whose type is installed is played message for message. Any other INPUT (an image, a
folder of images, a video, a KITTI, EuRoC, TUM or 7-Scenes folder) becomes images with camera_info and, if the
recording has them, depth, true odometry and transforms. Stamps are those of the recording. If they count from its
start, messages are stamped with the current time."""
EXAMPLE = """  featdepth play drive.bag --topic /camera/image_raw --loop
  featdepth play kitti/sequences/00 --rate 0.5 --wait-for-subscriber 10
  featdepth play photos/ --rate-hz 5 --camera 718.9,718.9,607.2,185.2"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("input", metavar="INPUT", type=Path, help="bag, folder, video or image")
    parser.add_argument("--rate", type=positive, default=1.0, metavar="FACTOR", help="factor on the recorded speed (1)")
    parser.add_argument("--loop", action="store_true", help="start again at the end; the stamps then jump back")
    parser.add_argument("--clock", action="store_true", help="publish the recording's time on /clock")
    parser.add_argument("--topic", help="image topic of a bag with several, or camera of a dataset (image_2, cam1)")
    parser.add_argument(
        "--camera", metavar="FILE|fx,fy,cx,cy", help="calibration to publish instead of the recorded one"
    )
    parser.add_argument(
        "--image-topic",
        type=topic_name,
        metavar="TOPIC",
        help="default: the bag's, else /camera/image_raw",
    )
    parser.add_argument(
        "--frame-id", default="camera_optical_frame", help="frame_id of the images; not for bags (camera_optical_frame)"
    )
    parser.add_argument("--rate-hz", type=positive, help="frames per second of a recording without stamps (default 10)")
    parser.add_argument(
        "--compressed", action="store_true", help="publish JPEG images on IMAGE_TOPIC/compressed; not for bags"
    )
    reliability = parser.add_mutually_exclusive_group()
    reliability.add_argument("--reliable", dest="reliable", action="store_true", default=None, help="reliable topics")
    reliability.add_argument("--best-effort", dest="reliable", action="store_false", help="best-effort topics")
    parser.add_argument(
        "--start-delay",
        type=not_negative,
        default=0.0,
        metavar="S",
        help="seconds to wait before the first message (0)",
    )
    parser.add_argument(
        "--wait-for-subscriber",
        type=not_negative,
        default=0.0,
        metavar="S",
        help="wait at most S seconds for a subscriber of the images (0)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a report of the playback to FILE as JSON")


def run(args: argparse.Namespace) -> int:
    """Play until the end or a signal. Returns the exit code."""
    from featdepth_ros.progress import ProgressBar
    from featdepth_ros.recordings.stream import StreamOptions, open_stream
    from featdepth_ros.ros.playback.command_node import command_node
    from featdepth_ros.ros.playback.message_types import message_class
    from featdepth_ros.ros.playback.player import Player, PlayOptions, start_of_live

    what = StreamOptions(args.topic, args.camera, args.image_topic, args.frame_id, args.compressed, args.rate_hz)
    how = PlayOptions(args.rate, args.loop, args.clock, args.reliable, args.start_delay, args.wait_for_subscriber)
    with command_node("featdepth_player") as (node, stop):
        stream = open_stream(args.input, what, lambda name: message_class(name) is not None, start_of_live)
        for note in stream.notes:
            print(f"note: {note}")
        printed = len(stream.notes)
        topics = ", ".join(f"{t.name} [{t.msgtype}]" for t in stream.topics)
        print(f"playing {args.input} on {topics}", flush=True)
        with ProgressBar("play", None if args.loop else stream.total, "msg") as bar:
            report = Player(node, stream, how, bar.update).play(stop)
        for note in stream.notes[printed:]:
            print(f"note: {note}")
    _print_report(report, args.json)
    return 0


def _print_report(report: Any, json_file: Path | None) -> None:
    from dataclasses import asdict

    from featdepth_ros.reporting.tables import write_json

    if report.subscribers_found is False:
        print("note: no subscriber appeared in time; the recording was played without one")
    rate = "" if report.frame_rate_hz is None else f" at {report.frame_rate_hz:.2f} frames/s"
    print(
        f"played {sum(report.messages.values())} messages, {report.frames} frames{rate}, in {report.elapsed_s:.2f} s; "
        f"{report.late} late, the latest by {report.latest_s * 1e3:.1f} ms"
        + (" (interrupted)" if report.interrupted else "")
    )
    if json_file is not None:
        write_json(json_file, asdict(report))
