"""All findings of one look, the worst first."""

from __future__ import annotations

from featdepth_ros.ros.doctor.camera import camera_findings
from featdepth_ros.ros.doctor.graph import graph_findings
from featdepth_ros.ros.doctor.machine import look_at_machine, machine_findings
from featdepth_ros.ros.doctor.observation import Finding, Observation


def examine(seen: Observation, weights: str, base_frame: str, odom_frame: str) -> list[Finding]:
    """Return what is wrong, errors before warnings, each in the order of the way from camera to network.

    Args:
        seen: of the graph.
        weights: that are to be used: a file or the name of a model that ships.
        base_frame: the robot's frame.
        odom_frame: the frame that odometry is reported in.
    """
    findings = [
        *camera_findings(seen),
        *graph_findings(seen, base_frame, odom_frame),
        *machine_findings(look_at_machine(), weights),
    ]
    return sorted(findings, key=lambda finding: finding.level != "error")
