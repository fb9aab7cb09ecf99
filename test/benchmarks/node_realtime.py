"""Results of the node on a recording in real time over DDS: number of processed frames, states, and odometry.

    python test/benchmarks/node_realtime.py INPUT [--topic T] [--weights W] [--lengths 50,100] [--align none]
        [--output DIR] [--json FILE] [-p name:=value ...]

Node, player and recorder are separate processes, as on a robot. The recorded odometry is compared with the true poses
that the player publishes, if the recording has them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from featdepth_ros import resources
from featdepth_ros.cli.main import main as featdepth
from featdepth_ros.cli.support.demo_processes import play_into_node

TRUTH = "/ground_truth/odom"
#: Recorded topics: those to which a robot would subscribe, so the only lazy one is depth.
RECORDED = ("/odom", "/tf", "/tf_static", "/diagnostics", TRUTH, "/depth_node/depth/image_rect")


def states(answers: Path) -> Counter[str]:
    """Return the number of diagnostics messages with each motion state."""
    from rosbags.highlevel import AnyReader

    found: Counter[str] = Counter()
    with AnyReader([answers]) as reader:
        connections = [c for c in reader.connections if c.topic == "/diagnostics"]
        for connection, _, raw in reader.messages(connections):
            message: Any = reader.deserialize(raw, connection.msgtype)
            for status in message.status:
                found.update(v.value for v in status.values if v.key == "motion_state")
    return found


def topics(answers: Path) -> set[str]:
    """Return the topics with messages."""
    from rosbags.highlevel import AnyReader

    with AnyReader([answers]) as reader:
        return {c.topic for c in reader.connections if c.msgcount}


def answered(answers: Path) -> tuple[int, float]:
    """Return the number of recorded odometry messages, and the length of their path in metres."""
    import numpy as np
    from rosbags.highlevel import AnyReader

    places = []
    with AnyReader([answers]) as reader:
        connections = [c for c in reader.connections if c.topic == "/odom"]
        for connection, _, raw in reader.messages(connections):
            message: Any = reader.deserialize(raw, connection.msgtype)
            position = message.pose.pose.position
            places.append((position.x, position.y, position.z))
    path = float(np.linalg.norm(np.diff(np.array(places), axis=0), axis=1).sum()) if len(places) > 1 else 0.0
    return len(places), path


def main() -> int:
    """Parse the command line, run the node, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", metavar="INPUT")
    parser.add_argument("--topic")
    parser.add_argument("--camera")
    parser.add_argument("--weights", default="compact")
    parser.add_argument("--lengths", default="10,20,30,40,50")
    parser.add_argument("--align", default="none")
    parser.add_argument("--output", help="folder for the recorded output (default: a temporary one)")
    parser.add_argument("--json")
    parser.add_argument("-p", "--parameter", action="append", default=[], metavar="name:=value")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.output or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        answers = folder / "answers"
        parameters = [f"weights:={resources.weights_file(args.weights)}", *args.parameter]
        played = play_into_node(args.input, answers, RECORDED, parameters, topic=args.topic, camera=args.camera)
        count, path_m = answered(answers)
        figures: dict[str, Any] = {"frames_played": played, "frames_answered": count, "path_m": path_m}
        figures["motion_states"] = dict(states(answers))
        figures["truth"] = bool(topics(answers) & {TRUTH})
        print(json.dumps(figures))
        if figures["truth"] and count > 1:
            judged = folder / "odometry.json"
            command = ["eval", "odometry", "--gt", str(answers), "--gt-topic", TRUTH, "--est", str(answers)]
            command += ["--est-topic", "/odom", "--align", args.align, "--lengths", args.lengths, "--json", str(judged)]
            featdepth(command)
            figures["odometry"] = json.loads(judged.read_text())
        if args.json:
            Path(args.json).write_text(json.dumps(figures, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
