"""Every parameter of refine_node. After a change here (a test compares):

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
            Option("node", "depth_node", "Name of the depth_node, with its namespace.", "As the launch file has it."),
            Option(
                "camera",
                "",
                "The odometry_camera of a depth_node with several cameras; empty: it has one.",
                "All cameras take the weights that one of them learns.",
            ),
            Option(
                "folder",
                "",
                "Folder of buffer, generations and history; empty: featdepth_ros/refine in the user's data folder.",
                "Set it where the home folder is small or read-only, or where a fleet collects it.",
            ),
        ),
    ),
    (
        "learning",
        (
            Option(
                "autostart",
                True,
                "Learn without being asked.",
                "One command is enough; with false ~/start begins it.",
            ),
            Option(
                "budget",
                0.5,
                "Share of one processor core that the learner may use; 2 is two cores.",
                "Half a core leaves a machine of two cores its rate.",
                low=0.05,
                high=64.0,
                live=True,
            ),
            Option(
                "threads",
                1,
                "Threads of the learner's networks.",
                "More threads disturb a node on the same processor more; give each core of the budget one.",
                low=1,
                high=64,
            ),
            Option(
                "device",
                "cpu",
                "Where the learner computes: cpu, cuda, cuda:0, auto.",
                "A GPU that the node uses is the node's.",
            ),
            Option(
                "learner_settings",
                [""],
                "key=value settings of the learner, such as steps=120 or lr=5e-5; docs/online-refinement.md has them.",
                "The defaults are those that were measured.",
            ),
            Option(
                "learner_restarts",
                5,
                "How often in a row a learner that ended by itself is started again, each time after a longer wait.",
                "What fails six times fails again; ~/start tries anew.",
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
                "Size of the buffer on the disk, megabytes; the oldest frames go first.",
                "About 1,500 pictures of the compact model's size.",
                low=20.0,
                high=1e6,
            ),
            Option(
                "max_rate_hz",
                10.0,
                "Most pictures a second that are looked at for the buffer.",
                "Neighbours at 10 Hz overlap enough for most robots.",
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
                "Put better weights on trial without being asked; false: ~/accept does.",
                "A trial that fails is taken back by itself.",
                live=True,
            ),
            Option(
                "probation_s",
                60.0,
                "Seconds in motion that new weights are watched before they count.",
                "Long enough for a few scenes.",
                low=1.0,
                high=86400.0,
                live=True,
            ),
            Option(
                "probation_clips",
                8,
                "Clips of fresh pictures on which the learner must have compared old and new weights before it ends.",
                "Two segments; fewer say little.",
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
        """The folder that is shared with the learner."""
        if self.folder:
            return Path(self.folder).expanduser().absolute()
        base = os.environ.get("XDG_DATA_HOME", "")
        return (Path(base) if base else Path.home() / ".local" / "share") / "featdepth_ros" / "refine"


def read_settings(node: Node) -> RefineSettings:
    """Return the node's present values."""

    def value(name: str) -> Any:
        try:
            return node.get_parameter(name).value
        except ParameterUninitializedException:
            return SCHEMA[name].default  # an empty list in a parameter file arrives as no value at all

    return RefineSettings(**{field.name: value(field.name) for field in fields(RefineSettings)})


_HEAD = """Parameters of refine_node, all at their defaults. Made by python -m featdepth_ros.ros.refine.settings.
Do not edit this file. Copy it and pass yours:
ros2 launch featdepth_ros depth.launch.py refine:=true refine_params_file:=/path/to/mine.yaml
'live' parameters take effect at once (ros2 param set). The others are read at the start."""


def yaml_text() -> str:
    """Return the text of config/refine.yaml."""
    return to_yaml(SECTIONS, _HEAD).replace("; read by configure]", "; read at the start]")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(yaml_text(), encoding="utf-8")
