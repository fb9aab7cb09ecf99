"""An example to copy: four cameras around a robot in one depth_node, with their mountings.

ros2 launch featdepth_ros four_cameras.launch.py
ros2 launch featdepth_ros four_cameras.launch.py rviz:=true mountings:=false

Put your cameras into CAMERAS, and their names into config/four_cameras.yaml (params_file:=...).
"""

from __future__ import annotations

import math
import os

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from featdepth_ros.resources import config_file
from featdepth_ros.ros.middleware import profile_environment
from featdepth_ros.ros.parameters.launch_arguments import switch
from launch import LaunchContext, LaunchDescription

#: Name, image topic, optical frame; x, y, z in metres and yaw in degrees on base_link (yaw 90 looks to the left).
CAMERAS = (
    ("front", "/front/image_raw", "front_optical", 0.5, 0.0, 1.2, 0.0),
    ("left", "/left/image_raw", "left_optical", 0.0, 0.3, 1.2, 90.0),
    ("right", "/right/image_raw", "right_optical", 0.0, -0.3, 1.2, -90.0),
    ("rear", "/rear/image_raw", "rear_optical", -0.5, 0.0, 1.2, 180.0),
)
#: (name, default, description). With an empty default, the value in params_file applies.
ARGUMENTS = (
    ("params_file", "", "YAML file of parameters; empty: config/four_cameras.yaml of the package."),
    ("weights", "", "Weights file, or the name of a model that ships; empty: as in params_file."),
    ("device", "", "auto, cpu, cuda, cuda:0...; empty: as in params_file."),
    ("use_sim_time", "false", "Take the time from /clock: for simulators, and for bags played with --clock."),
    ("mountings", "true", "Publish the mountings on /tf_static; false: the robot's own description does so."),
    ("rviz", "false", "Start RViz with config/four_cameras.rviz."),
)


#: Spellings of a switch, as in depth.launch.py.


def mounting_arguments(camera: tuple[str, str, str, float, float, float, float]) -> list[str]:
    """Return the arguments of static_transform_publisher: base_link to the optical frame (z ahead, x right)."""
    _, _, frame, x, y, z, yaw_deg = camera
    angles = {"roll": -math.pi / 2, "pitch": 0.0, "yaw": math.radians(yaw_deg) - math.pi / 2}
    numbers = {"x": x, "y": y, "z": z, **angles}
    words = [word for name, value in numbers.items() for word in (f"--{name}", f"{value:.9f}")]
    return [*words, "--frame-id", "base_link", "--child-frame-id", frame]


def _nodes(context: LaunchContext) -> list[Node]:
    def argument(name: str) -> str:
        return LaunchConfiguration(name).perform(context).strip()

    clock = {"use_sim_time": switch("use_sim_time", argument("use_sim_time"))}
    given = {name: argument(name) for name in ("weights", "device") if argument(name)}
    nodes = [
        Node(
            package="featdepth_ros",
            executable="depth_node",
            name="depth_node",
            output="screen",
            emulate_tty=True,
            parameters=[argument("params_file") or str(config_file("four_cameras.yaml")), {**given, **clock}],
            remappings=[(f"{name}/image_raw", topic) for name, topic, *_ in CAMERAS if topic != f"/{name}/image_raw"],
        )
    ]
    if switch("mountings", argument("mountings")):
        nodes += [
            Node(
                package="tf2_ros",
                executable="static_transform_publisher",
                name=f"{camera[0]}_mounting",
                arguments=mounting_arguments(camera),
            )
            for camera in CAMERAS
        ]
    if switch("rviz", argument("rviz")):
        nodes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz2",
                arguments=["-d", str(config_file("four_cameras.rviz"))],
                parameters=[clock],
            )
        )
    return nodes


def generate_launch_description() -> LaunchDescription:
    """Return the description that ``ros2 launch`` runs."""
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(n, default_value=default, description=text) for n, default, text in ARGUMENTS),
            *(SetEnvironmentVariable(name, value) for name, value in profile_environment(os.environ).items()),
            OpaqueFunction(function=_nodes),
        ]
    )
