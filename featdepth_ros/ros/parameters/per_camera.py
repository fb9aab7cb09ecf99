"""Parameters that can be set for one of several cameras: ``<camera>.<parameter>``, such as ``front.camera_frame``.

A camera without a value of its own uses the parameter without a camera's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node

from featdepth_ros.inference.options import Option
from featdepth_ros.ros.parameters.definitions import SCHEMA
from featdepth_ros.ros.parameters.schema import descriptor, parameter_type
from featdepth_ros.ros.parameters.settings import Settings

#: The parameters that may differ between cameras: their mounting, and what their drivers send.
PER_CAMERA = ("camera_frame", "camera_height_m", "image_transport", "rectified_input")


def declare_per_camera(node: Node, cameras: Iterable[str]) -> None:
    """Declare the parameters of these cameras without a value, unless they are declared already."""
    for camera in cameras:
        for name in PER_CAMERA if camera else ():
            full = f"{camera}.{name}"
            if not node.has_parameter(full):
                own = replace(SCHEMA[name], description=f"{SCHEMA[name].description} Applies to camera {camera} alone.")
                node.declare_parameter(full, parameter_type(own), descriptor(own))


def per_camera_option(name: str, cameras: Iterable[str]) -> Option | None:
    """Return the option behind ``<camera>.<parameter>``; None when the name has no such form."""
    camera, _, parameter = name.rpartition(".")
    return SCHEMA[parameter] if parameter in PER_CAMERA and camera in cameras else None


def camera_settings(node: Node, settings: Settings) -> dict[str, Settings]:
    """Return the settings of every camera by name, with the camera's own values in place of the common ones."""
    made = {}
    for camera in settings.camera_names:
        own = {}
        for name in PER_CAMERA if camera else ():
            try:
                own[name] = node.get_parameter(f"{camera}.{name}").value
            except ParameterUninitializedException:
                continue
        made[camera] = replace(settings, **own)
    return made
