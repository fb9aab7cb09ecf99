"""Starts depth_node, and optionally RViz and refine_node.

ros2 launch featdepth_ros depth.launch.py image:=/camera/image_raw
ros2 launch featdepth_ros depth.launch.py image:=/camera/image_raw rviz:=true
ros2 launch featdepth_ros depth.launch.py image:=/camera/image_raw refine:=true
ros2 launch featdepth_ros depth.launch.py --show-args
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from featdepth_ros.resources import config_file
from featdepth_ros.ros.middleware import profile_environment
from featdepth_ros.ros.parameters.launch_arguments import switch
from launch import LaunchContext, LaunchDescription

#: (name, default, description). With an empty default, the value in params_file applies.
ARGUMENTS = (
    ("image", "image_raw", "Image topic of the camera; a name that ends in /compressed means compressed images."),
    ("camera_info", "", "CameraInfo topic; empty: the sibling of the image topic."),
    ("weights", "", "Weights file, or the name of a model that ships; empty: as in params_file."),
    ("params_file", "", "YAML file of parameters; empty: config/depth.yaml of the package."),
    ("device", "", "auto, cpu, cuda, cuda:0...; empty: as in params_file."),
    ("namespace", "", "Namespace of the node and its relative topics."),
    ("name", "depth_node", "Name of the node; its topics are <namespace>/<name>/depth/image_rect..."),
    ("use_sim_time", "false", "Take the time from /clock: for simulators, and for bags played with --clock."),
    ("publish_tf", "", "Publish odom -> base_link, true or false; empty: as in params_file."),
    ("base_frame", "", "Frame whose motion is reported; empty: as in params_file."),
    ("odom_frame", "", "Frame in which the motion is reported; empty: as in params_file."),
    ("scale", "", "auto, relative, factor, camera_height or speed; empty: as in params_file."),
    (
        "camera_height_m",
        "",
        "Metres from the ground to the lens; sets scale to camera_height. Empty: as in params_file.",
    ),
    ("speed_topic", "", "Topic of the robot's twist, whose speed sets the scale; empty: as in params_file."),
    ("max_rate_hz", "", "Largest number of images processed per second; empty: as in params_file."),
    ("image_transport", "", "raw or compressed; empty: as in params_file."),
    ("autostart", "", "Configure and activate at the start, true or false; empty: as in params_file."),
    ("respawn", "false", "Restart the node two seconds after it ends unexpectedly."),
    ("log_level", "info", "debug, info, warn or error."),
    ("rviz", "false", "Start RViz with config/depth.rviz."),
    ("refine", "false", "Also start refine_node, which improves the weights in the robot's environment."),
    ("refine_budget", "", "Processor cores that the learner may use, such as 0.5; empty: as in refine_params_file."),
    ("refine_folder", "", "Folder of learned weights and recorded frames; empty: as in refine_params_file."),
    ("refine_params_file", "", "YAML file of refine_node's parameters; empty: config/refine.yaml of the package."),
    ("dds_profile", "true", "Use the shipped Fast DDS profile, unless the environment already names one."),
)
_STRINGS = ("weights", "device", "base_frame", "odom_frame", "image_transport", "scale", "speed_topic")
_NUMBERS = ("camera_height_m", "max_rate_hz")
_SHOWN = ("points", "depth/image_rect", "image_rect", "tracks", "path", "set_pose")
_SWITCHES = ("publish_tf", "autostart")
#: For each node: the prefix of its launch arguments, and its default parameter file.
_PARAMETERS = {"depth_node": ("", "depth.yaml"), "refine_node": ("refine_", "refine.yaml")}


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"launch argument '{name}' is '{text}'; expected a number") from error


def _view(odom_frame: str, base_frame: str) -> list[str]:
    """Return RViz's arguments: the shipped configuration, or a copy of it with the frames given here."""
    file = config_file("depth.rviz")
    if not odom_frame and not base_frame:
        return ["-d", str(file)]
    text = file.read_text(encoding="utf-8")
    text = text.replace("Fixed Frame: odom\n", f"Fixed Frame: {odom_frame or 'odom'}\n")
    text = text.replace("Target Frame: base_link\n", f"Target Frame: {base_frame or 'base_link'}\n")
    copy = Path(tempfile.mkdtemp(prefix="featdepth_rviz_")) / file.name
    copy.write_text(text, encoding="utf-8")
    return ["-d", str(copy)]


def _environment(context: LaunchContext) -> list[SetEnvironmentVariable]:
    if not switch("dds_profile", LaunchConfiguration("dds_profile").perform(context)):
        return []
    return [SetEnvironmentVariable(name, value) for name, value in profile_environment(os.environ).items()]


def _nodes(context: LaunchContext) -> list[Node]:
    def argument(name: str) -> str:
        return LaunchConfiguration(name).perform(context).strip()

    given: dict[str, object] = {
        name: ParameterValue(argument(name), value_type=str) for name in _STRINGS if argument(name)
    }
    given |= {name: _number(name, argument(name)) for name in _NUMBERS if argument(name)}
    given |= {name: switch(name, argument(name)) for name in _SWITCHES if argument(name)}
    if "camera_height_m" in given:  # whoever gives the height wants it to set the scale
        given = {"scale": "camera_height", **given}
    given["use_sim_time"] = switch("use_sim_time", argument("use_sim_time"))
    remappings = [("image_raw", argument("image"))] if argument("image") != "image_raw" else []
    if argument("camera_info"):
        remappings.append(("camera_info", argument("camera_info")))
    full_name = "/".join(("", *argument("namespace").strip("/").split("/"), argument("name"))).replace("//", "/")
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        name="rviz2",
        arguments=_view(argument("odom_frame"), argument("base_frame")),
        parameters=[{"use_sim_time": given["use_sim_time"]}],
        # The RViz configuration has the topics of a depth_node without a namespace.
        remappings=[(f"/depth_node/{topic}", f"{full_name}/{topic}") for topic in _SHOWN]
        + [("/odom", full_name.rsplit("/", 1)[0] + "/odom")],
    )
    return [
        *([rviz] if switch("rviz", argument("rviz")) else []),
        *([_refine_node(argument)] if switch("refine", argument("refine")) else []),
        _own_node("depth_node", argument("name"), argument, given, remappings),
    ]


def _own_node(
    kind: str,
    name: str,
    argument: Callable[[str], str],
    given: dict[str, object],
    remappings: Sequence[tuple[str, str]] = (),
) -> Node:
    """Return one of this package's nodes, with the launch arguments common to all and its parameter file."""
    before, file = _PARAMETERS[kind]
    return Node(
        package="featdepth_ros",
        executable=kind,
        name=name,
        namespace=argument("namespace"),
        output="screen",
        emulate_tty=True,
        respawn=switch("respawn", argument("respawn")),
        respawn_delay=2.0,
        parameters=[argument(f"{before}params_file") or str(config_file(file)), given],
        remappings=remappings,
        arguments=["--ros-args", "--log-level", argument("log_level")],
    )


def _refine_node(argument: Callable[[str], str]) -> Node:
    given: dict[str, object] = {"node": argument("name")}
    given["use_sim_time"] = switch("use_sim_time", argument("use_sim_time"))
    if argument("refine_budget"):
        given["budget"] = _number("refine_budget", argument("refine_budget"))
    if argument("refine_folder"):
        given["folder"] = ParameterValue(argument("refine_folder"), value_type=str)
    return _own_node("refine_node", "refine_node", argument, given)


def generate_launch_description() -> LaunchDescription:
    """Return the description that ``ros2 launch`` runs."""
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(n, default_value=default, description=text) for n, default, text in ARGUMENTS),
            OpaqueFunction(function=_environment),
            OpaqueFunction(function=_nodes),
        ]
    )
