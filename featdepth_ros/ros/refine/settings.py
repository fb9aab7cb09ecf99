"""Every parameter of refine_node. After a change here, run these commands; a test compares the results:

python -m featdepth_ros.ros.refine.settings config/refine.yaml
python -m featdepth_ros.ros.parameters > docs/parameters.md
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node

from featdepth_ros.inference.options import Option
from featdepth_ros.ros.parameters.schema import to_yaml
from featdepth_ros.ros.parameters.shared import DIAGNOSTICS_PERIOD

SECTIONS: tuple[tuple[str, tuple[Option, ...]], ...] = (
    (
        "what is refined",
        (
            Option(
                "node",
                "depth_node",
                "Name of the depth_node to refine, with its namespace.",
                "The default is the launch file's.",
            ),
            Option(
                "camera",
                "",
                "Name of the odometry_camera, for a depth_node with several cameras; empty: it has one camera.",
                "All cameras use the weights that are learned from this one.",
            ),
            Option(
                "folder",
                "",
                "Folder of buffer, generations and history; empty: featdepth_ros/refine in the user's data folder.",
                "Set it if the home folder is small or read-only, or if a fleet collects the folder.",
            ),
        ),
    ),
    (
        "learning",
        (
            Option(
                "autostart",
                True,
                "Begin to learn when the node starts.",
                "One command then starts everything. If it is false, ~/start begins the learning.",
            ),
            Option(
                "budget",
                0.5,
                "Processor cores that the learner may use, also fractions; 2 is two cores.",
                "With half a core, depth_node keeps its rate on a machine of two cores.",
                low=0.05,
                high=64.0,
                live=True,
            ),
            Option(
                "threads",
                1,
                "Threads of the learner's networks.",
                "Set one thread for each core of the budget. More threads disturb a node on the same processor more.",
                low=1,
                high=64,
            ),
            Option(
                "device",
                "cpu",
                "Device of the learner: cpu, cuda, cuda:0, auto.",
                "A GPU that depth_node uses should stay free for it.",
            ),
            Option(
                "learner_settings",
                [""],
                "Settings of the learner, such as steps=120 or lr=5e-5. docs/online-refinement.md lists them.",
                "The published results were measured with the defaults.",
            ),
            Option(
                "learner_restarts",
                5,
                "How often in a row a crashed learner is restarted, each time after a longer wait.",
                "A learner that failed six times will fail again. ~/start resets the count.",
                low=0,
                high=1000,
            ),
        ),
    ),
    (
        "buffer",
        (
            Option(
                "buffer_mb",
                300.0,
                "Largest size of the buffer on the disk, megabytes. The oldest frames are removed first.",
                "The default holds about 1,500 images of the compact model's size.",
                low=20.0,
                high=1e6,
            ),
            Option(
                "max_rate_hz",
                10.0,
                "Largest number of images per second that are considered for the buffer.",
                "At 10 Hz, neighbouring images overlap enough for most robots.",
                low=0.5,
                high=120.0,
                live=True,
            ),
        ),
    ),
    (
        "trial",
        (
            Option(
                "auto_offer",
                True,
                "Put better weights on trial automatically. If it is false, ~/accept does so.",
                "A trial that fails is rolled back automatically.",
                live=True,
            ),
            Option(
                "probation_s",
                60.0,
                "Seconds in motion for which new weights are observed before they are accepted.",
                "The default is long enough for a few scenes.",
                low=1.0,
                high=86400.0,
                live=True,
            ),
            Option(
                "probation_clips",
                8,
                "Clips of new images on which the learner must compare old and new weights before the trial ends.",
                "The default is two segments. Fewer clips give no reliable result.",
                low=0,
                high=10000,
                live=True,
            ),
            DIAGNOSTICS_PERIOD,
        ),
    ),
)

SCHEMA: dict[str, Option] = {option.name: option for _, options in SECTIONS for option in options}


@dataclass(frozen=True)
class RefineSettings:
    """The values of all parameters at one moment; field names are the parameters' names."""

    node: str
    camera: str
    folder: str
    autostart: bool
    budget: float
    threads: int
    device: str
    learner_settings: list[str]
    learner_restarts: int
    buffer_mb: float
    max_rate_hz: float
    auto_offer: bool
    probation_s: float
    probation_clips: int
    diagnostics_period_s: float

    @property
    def work(self) -> Path:
        """Absolute path of the folder that is shared with the learner."""
        if self.folder:
            return Path(self.folder).expanduser().absolute()
        base = os.environ.get("XDG_DATA_HOME", "")
        return (Path(base) if base else Path.home() / ".local" / "share") / "featdepth_ros" / "refine"


def read_settings(node: Node) -> RefineSettings:
    """Return the node's current values. The parameters must have been declared."""

    def value(name: str) -> Any:
        try:
            return node.get_parameter(name).value
        except ParameterUninitializedException:
            return SCHEMA[name].default  # an empty list in a parameter file arrives as no value at all

    return RefineSettings(**{field.name: value(field.name) for field in fields(RefineSettings)})


_HEAD = """Parameters of refine_node, all at their defaults. Generated by python -m featdepth_ros.ros.refine.settings.
Do not edit this file. Copy it and pass your copy:
ros2 launch featdepth_ros depth.launch.py refine:=true refine_params_file:=/path/to/mine.yaml
'live' parameters take effect at once (ros2 param set). The others are read when the node starts."""


def yaml_text() -> str:
    """Return the text of config/refine.yaml."""
    return to_yaml(SECTIONS, _HEAD).replace("; read by configure]", "; read at the start]")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(yaml_text(), encoding="utf-8")
