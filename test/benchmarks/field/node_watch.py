"""Diagnostics of the node on a recording: every frame goes through its pipeline, and diagnostics are read after each.

python test/benchmarks/field/node_watch.py INPUT... [--camera C] [--topic T] [--rate HZ] [--frames N] [--rows]
    [-p NAME:=VALUE]

Images go directly to the node, without DDS, and none is dropped. The node's monotonic clock is that of the recording,
so that the speed of the machine has no effect. One line per recording gives the states, the levels (0: OK, 1: WARN, 2:
ERROR), shares of valid depth, and speeds. The messages of diagnostics follow without their numbers, the most frequent
first. ``--rate`` replaces the stamps.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from itertools import islice
from typing import Any

import numpy as np
import rclpy
import yaml
from rclpy.parameter import Parameter

from featdepth_ros.recordings.open import open_recording
from featdepth_ros.ros.calibration import info_from_camera
from featdepth_ros.ros.images import image_message
from featdepth_ros.ros.inputs import Arrival
from featdepth_ros.ros.node import DepthNode

FRAME_ID = "camera_optical"


class Watched:
    """The node, and the messages that it would publish on /diagnostics.

    Args:
        context: ROS context.
        parameters: parameters of the node.
    """

    def __init__(self, context: Any, parameters: dict[str, Any]) -> None:
        self.seconds = 1000.0
        time.monotonic = lambda: self.seconds
        time.monotonic_ns = lambda: round(self.seconds * 1e9)
        values = {"extrinsics_timeout_s": 0.0, "autostart": False, "backend": "torch", **parameters}
        arguments = ["--ros-args", "-r", "image_raw:=/camera/image_raw", "--log-level", "FATAL"]
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = DepthNode(context=context, cli_args=arguments, parameter_overrides=overrides)
        self.node._diagnostics = self
        self.node.trigger_configure()
        self.node.trigger_activate()

    def publish(self, message: Any) -> None:
        """Keep a diagnostics message."""
        self.status = message.status[0]

    def send(self, frame: Any, stamp: int, seconds: float) -> tuple[int, str, dict[str, str]]:
        """Send one frame to the node; return level, message and values of its diagnostics."""
        self.seconds += seconds
        channel, pipeline = self.node._channels[""], self.node._pipeline
        assert channel.input is not None and pipeline is not None
        if frame.camera is not None:
            channel.input._infos.append((stamp, info_from_camera(frame.camera, stamp, FRAME_ID)))
        channel.statistics.image_arrived(replaced=False)
        message = image_message(frame.image, "rgb8", stamp, FRAME_ID)
        pipeline.process({"": Arrival(message, time.monotonic_ns())})
        self.node._on_diagnostics()
        return self.status.level[0], self.status.message, {v.key: v.value for v in self.status.values}


def watch(source: str, args: argparse.Namespace, context: Any) -> None:
    """Print the diagnostics of the node on one recording."""
    parameters = {name: yaml.safe_load(value) for name, value in (p.split(":=") for p in args.p)}
    watched = Watched(context, parameters)
    words: Counter[tuple[int, str]] = Counter()
    states: list[str] = []
    told: list[tuple[int, float, float]] = []
    before = None
    for index, frame in enumerate(islice(open_recording(source, args.topic, camera=args.camera), args.frames)):
        stamp = round((index + 1) * 1e9 / args.rate) if args.rate else frame.stamp_ns + 1
        seconds = 0.1 if before is None else (stamp - before) * 1e-9
        level, message, values = watched.send(frame, stamp, seconds)
        before = stamp
        states.append(values["motion_state"])
        told.append((level, float(values["valid_share"] or "nan"), float(values["speed"] or "nan")))
        words[level, re.sub(r"[-\d.]+", "#", message)] += 1
        if args.rows:
            print(index, states[-1], level, values["valid_share"], values["speed"], values["tracks"], message)
    levels, shares, speeds = np.array(told).T
    counts = {int(level): int((levels == level).sum()) for level in np.unique(levels)}
    print(f"{source} {' '.join(args.p)}: {dict(Counter(states))}, levels {counts}, scale {values['scale']}")
    least, median = np.nanmin(shares), np.nanmedian(shares)
    print(f"  valid share {least:.2f} least, {median:.2f} median; speed {np.nanmedian(speeds):.2f} median")
    for (level, text), count in words.most_common(6):
        print(f"  {count:4d} {level} {text}")
    watched.node.release()
    watched.node.destroy_node()


def main() -> None:
    """Parse the command line and evaluate each recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", metavar="INPUT")
    parser.add_argument("--camera")
    parser.add_argument("--topic")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("-p", action="append", default=[], metavar="NAME:=VALUE")
    args = parser.parse_args()
    context = rclpy.Context()
    rclpy.init(context=context, args=[])
    for source in args.inputs:
        watch(source, args, context)
    rclpy.shutdown(context=context)


if __name__ == "__main__":
    main()
