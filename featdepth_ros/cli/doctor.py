"""``featdepth doctor``: what is wrong with the graph and the machine, and what to do."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from featdepth_ros.cli.support.arguments import positive, topic_name

if TYPE_CHECKING:
    from featdepth_ros.ros.doctor.observation import Finding, Observation

DESCRIPTION = """Observe the running ROS 2 graph and this machine for a few seconds. Report problems and remedies for
camera, calibration, TF, QoS, clocks, GPU, shared memory and weights.

Run it in the shell that starts depth_node, before or while the node runs. The exit code is 0 without findings and 1
with findings."""
EXAMPLE = """  featdepth doctor
  featdepth doctor --topic /camera/image_raw --json findings.json"""

#: Lines of the report without --all, so that it can be read at a glance.
_LINES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.add_argument(
        "--topic", type=topic_name, metavar="T", help="image topic (default: the one depth_node subscribes to)"
    )
    parser.add_argument("--seconds", type=positive, default=3.0, metavar="S", help="seconds to observe (3)")
    parser.add_argument("--weights", default="compact", metavar="W", help="weights that the node will use (compact)")
    parser.add_argument("--base-frame", default="base_link", metavar="F", help="the robot's frame (base_link)")
    parser.add_argument("--odom-frame", default="odom", metavar="F", help="frame in which odometry is reported (odom)")
    parser.add_argument("--all", action="store_true", help=f"show all findings, not the {_LINES - 1} worst")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings to FILE as JSON")


def run(args: argparse.Namespace) -> int:
    """Observe the graph, examine it, print the findings. Returns 0 when nothing is wrong, 1 with findings."""
    from featdepth_ros.ros.playback.command_node import command_node

    with command_node("featdepth_doctor") as (node, stop):
        from featdepth_ros.ros.doctor.examine import examine
        from featdepth_ros.ros.doctor.watch import Watch

        seen = Watch(node, args.topic, stop).observe(args.seconds)
    findings = examine(seen, args.weights, args.base_frame, args.odom_frame)
    _show(findings, seen, len(findings) if args.all else _LINES - 1)
    if args.json is not None:
        _write(args.json, findings, seen)
    return 1 if findings else 0


def _show(findings: list[Finding], seen: Observation, most: int) -> None:
    for finding in findings[:most]:
        print(f"{finding.level.upper()} {finding.what}. Do: {finding.do} [{finding.code}]")
    if len(findings) > most:
        print(f"... and {len(findings) - most} more (--all shows them)")
    if not findings:
        came = f"{len(seen.images.seen)} images in {seen.seconds:g} s on {seen.images.topic}, calibrated and mounted"
        print(f"nothing is wrong: {came}; depth_node: {', '.join(seen.depth_nodes) or 'not started'}")


def _write(path: Path, findings: list[Finding], seen: Observation) -> None:
    from dataclasses import asdict

    from featdepth_ros.reporting.tables import write_json

    write_json(
        path,
        {
            "findings": [asdict(finding) for finding in findings],
            "image_topic": seen.images.topic or None,
            "camera_info_topic": seen.infos.topic or None,
            "images": len(seen.images.seen),
            "seconds": seen.seconds,
            "depth_nodes": list(seen.depth_nodes),
            "image_topics": list(seen.image_topics),
        },
    )
