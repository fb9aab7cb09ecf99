"""Derives all findings from an observation, errors first."""

from __future__ import annotations

from featdepth_ros.ros.doctor.camera import camera_findings
from featdepth_ros.ros.doctor.graph import graph_findings
from featdepth_ros.ros.doctor.machine import inspect_machine, machine_findings
from featdepth_ros.ros.doctor.observation import Finding, Observation


def examine(seen: Observation, weights: str, base_frame: str, odom_frame: str) -> list[Finding]:
    """Return the findings: errors before warnings, each in the order from camera to network.

    Args:
        seen: observation of the graph.
        weights: weights that the node will use: a file or the name of a model that ships.
        base_frame: base frame of the robot.
        odom_frame: frame in which odometry is reported.
    """
    findings = [
        *camera_findings(seen),
        *graph_findings(seen, base_frame, odom_frame),
        *machine_findings(inspect_machine(), weights),
    ]
    return sorted(findings, key=lambda finding: finding.level != "error")
