"""The rate of the node on a free machine, and with a busy loop on one of its cores.

python test/benchmarks/node/node_busy.py [--size 480x640] [--rate 60] [--seconds 20] [--parameter motion:=network]...

It sends more images than the node can process, and counts the depth images that come back. Then it pins a process with
a busy loop to one core and counts again. On two cores, half of the processor remains, and so should at least 45 % of
the rate. The output is one JSON line. No other program should use the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

import rclpy
from node_relay import Feeder

from featdepth_ros.ros.middleware import use_shared_memory_profile

SPIN = "import os\nos.sched_setaffinity(0, {%d})\nwhile True: pass"


def answered_hz(feeder: Feeder, rate_hz: float, seconds: float) -> float:
    """Send images at a rate for ``seconds``; return the number of results per second."""
    before, started, index = feeder.count, time.monotonic(), 0
    while time.monotonic() < started + seconds:
        feeder.send(index := index + 1)
        time.sleep(max(0.0, started + index / rate_hz - time.monotonic()))
    return (feeder.count - before) / (time.monotonic() - started)


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="480x640", help="HxW of the images")
    parser.add_argument("--rate", type=float, default=60.0, help="images per second; more than the node can process")
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each measurement")
    parser.add_argument("--parameter", action="append", default=[], help="parameter of the node, name:=value")
    args = parser.parse_args()
    height, width = (int(side) for side in args.size.split("x"))
    cores = sorted(os.sched_getaffinity(0))
    use_shared_memory_profile()
    feeder = Feeder(width, height)
    feeder.listen("/depth_node/depth/image_rect")
    words = [word for parameter in ["device:=cpu", *args.parameter] for word in ("-p", parameter)]
    remaps = ["-r", "image_raw:=/camera/image_raw"]
    command = [sys.executable, "-m", "featdepth_ros.ros.node", "--ros-args", *remaps, *words]
    node = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    spinning = None
    try:
        until = time.monotonic() + 120.0
        while feeder.count < 8:  # discovery, loading, warm-up
            if node.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the node published no depth; run it alone with the same parameters to see why")
            answered_hz(feeder, 5.0, 1.0)
        answered_hz(feeder, args.rate, 5.0)
        free_hz = answered_hz(feeder, args.rate, args.seconds)
        spinning = subprocess.Popen([sys.executable, "-c", SPIN % cores[-1]])
        answered_hz(feeder, args.rate, 2.0)
        busy_hz = answered_hz(feeder, args.rate, args.seconds)
    finally:
        for process in filter(None, (spinning, node)):
            process.kill()
            process.wait(30.0)
        rclpy.shutdown()
    figures = {
        "size": args.size,
        "cores": len(cores),
        "free_hz": free_hz,
        "busy_hz": busy_hz,
        "kept": busy_hz / free_hz,
    }
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()}), flush=True)


if __name__ == "__main__":
    main()
