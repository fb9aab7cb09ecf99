"""The options of networks and estimator, each defined once: default, range, choices, description and reason.

`EstimatorConfig` takes its defaults and limits from here, `featdepth infer` its flags, and the node its parameters.
config/depth.yaml, docs/parameters.md and the ROS descriptors are generated from these definitions. This module imports
neither torch nor ROS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Value = bool | int | float | str | list[str]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
BackendChoice = Literal["auto", "torch", "onnxruntime", "openvino", "tensorrt"]
OutputSize = Literal["network", "input"]
ScaleChoice = Literal["auto", "relative", "factor", "camera_height", "speed"]
MotionChoice = Literal["auto", "network", "window"]
DepthChoice = Literal["auto", "network", "fused"]

_TYPE_NAMES: dict[type, str] = {bool: "bool", int: "int", float: "double", str: "string", list: "string_array"}


@dataclass(frozen=True)
class Option:
    """One option of the estimator or parameter of a node.

    Attributes:
        name: name of the field of `EstimatorConfig` and of the ROS parameter; the flag is derived from it.
        default: default value; its type is the option's type.
        description: what the option does, in one or two sentences.
        reason: why the default has this value, or when to change it.
        choices: the allowed strings; empty: any.
        low, high: inclusive range of a number; None: no limit.
        live: True: a change takes effect while the node runs. False: the value is read by `configure`.
        replaced: (former choice, its replacement) pairs, for the error message.
    """

    name: str
    default: Value
    description: str
    reason: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    live: bool = False
    replaced: tuple[tuple[str, str], ...] = ()

    @property
    def type_name(self) -> str:
        """``bool``, ``int``, ``double``, ``string`` or ``string_array``."""
        return _TYPE_NAMES[type(self.default)]

    @property
    def range_text(self) -> str:
        """The allowed values as text; empty when any value is allowed."""
        if self.choices:
            return " | ".join(self.choices)
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return ""

    def invalid_reason(self, value: Any) -> str:
        """Return why ``value`` is not allowed; an empty string when it is."""
        if self.choices and value in dict(self.replaced):
            return f"'{self.name}' is '{value}', which was removed: use '{dict(self.replaced)[value]}' instead"
        if self.choices and value not in self.choices:
            return f"'{self.name}' is '{value}'; expected one of {', '.join(self.choices)}"
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            return f"'{self.name}' is {value}; expected {self.range_text}"
        return ""


_OPTIONS = (
    Option(
        "weights",
        "compact",
        "Name of a model that ships with the package, or a file. A file holds weights (.safetensors, or a published "
        ".pth), an exported network (.onnx, .xml), or a third-party depth network (.onnx).",
        "The compact model runs on a CPU. A running node can switch to other weights of the same architecture.",
        live=True,
    ),
    Option(
        "convention",
        "",
        "Input and output format of a third-party depth network: the name of a known convention, or a YAML file. "
        "docs/any-network.md describes both.",
        "If it is empty, the .yaml file beside the .onnx file is read.",
    ),
    Option(
        "preset",
        "",
        "Depth range and scale of a published .pth file, which does not store them: kitti, kitti_odom, euroc, nyu...",
        "Leave it empty for files that store both.",
    ),
    Option(
        "device",
        "auto",
        "Device of the networks: auto, cpu, cuda, cuda:0...",
        "auto takes a GPU when PyTorch finds one.",
    ),
    Option(
        "precision",
        "auto",
        "Floating-point precision of the networks. Geometry is always computed in fp32.",
        "auto chooses bf16 where the processor has instructions for it, else fp32.",
        choices=get_args(Precision),
    ),
    Option(
        "backend",
        "auto",
        "Inference back end of the networks. auto chooses the fastest installed one whose results match PyTorch's.",
        "PyTorch runs from the first frame. Another back end is built meanwhile, which takes a minute the first time.",
        choices=get_args(BackendChoice),
    ),
    Option(
        "backend_cache",
        "",
        "Folder for the files that back ends build; empty: featdepth_ros in the user's cache folder.",
        "Set it if the home folder is read-only.",
    ),
    Option(
        "backend_cache_mb",
        500.0,
        "Largest size of backend_cache in megabytes. The files that were used longest ago are removed first.",
        "The compact model takes 20 to 40 MB for each image size.",
        low=1.0,
        high=1e6,
    ),
    Option(
        "input_height",
        0,
        "Image rows at the input of the networks, a multiple of 32; 0: as trained. The compact model then keeps the "
        "camera's aspect ratio.",
        "A smaller size is faster and coarser.",
        low=0,
        high=4096,
    ),
    Option(
        "input_width",
        0,
        "Image columns at the input of the networks, a multiple of 32; 0: as trained.",
        "Set it together with input_height.",
        low=0,
        high=4096,
    ),
    Option(
        "output_size",
        "network",
        "Size of the depth image, cloud and image_rect. network: the size of the networks' output; input: the size of "
        "the camera's image.",
        "The networks' size costs least and interpolates nothing.",
        choices=get_args(OutputSize),
    ),
    Option(
        "min_depth",
        0.1,
        "Nearest valid depth in metres. The node publishes nearer pixels as -Inf (REP-117).",
        "The networks were not trained on nearer depths.",
        low=0.001,
        high=1000.0,
    ),
    Option(
        "max_depth",
        80.0,
        "Farthest valid depth in metres. The node publishes farther pixels as +Inf (REP-117).",
        "Lower it indoors.",
        low=0.01,
        high=10000.0,
    ),
    Option(
        "scale",
        "auto",
        "How network units become metres. auto: by speed_topic if it is set, else as the weights define; relative: "
        "never; factor: by scale_factor; camera_height: by camera_height_m; speed: by speed_topic.",
        "A single camera cannot measure scale. Metres are unverified until you give the camera's height or its speed.",
        choices=get_args(ScaleChoice),
    ),
    Option(
        "scale_factor",
        1.0,
        "Metres per network unit, for scale: factor.",
        "It is 36 for the published weights that were trained on stereo pairs.",
        low=1e-6,
        high=1e6,
    ),
    Option(
        "camera_height_m",
        1.5,
        "Height of the camera above the ground in metres, for scale: camera_height.",
        "Measure it. An error of 10 % in the height makes every distance wrong by 10 %.",
        low=0.01,
        high=100.0,
    ),
    Option(
        "speed_topic",
        "",
        "Topic of the robot's twist, nav_msgs/Odometry or geometry_msgs/TwistStamped; empty: none. Its speed sets the "
        "scale.",
        "Wheel odometry measures metres, which a single camera cannot.",
    ),
    Option(
        "imu_topic",
        "",
        "Topic of a gyroscope, sensor_msgs/Imu; empty: none. /tf_static must link it to the camera. The window uses it "
        "to estimate the rotation.",
        "It helps in fast turns and in images with little texture. Its bias is estimated.",
    ),
    Option(
        "focal_compensation",
        True,
        "Correct the depth for a focal length that differs from the training camera's.",
        "Without the correction, a longer lens makes everything look nearer than it is.",
    ),
    Option(
        "estimate_motion",
        True,
        "Run the pose network and publish odometry.",
        "Set it to false if you need depth only.",
    ),
    Option(
        "motion",
        "auto",
        "Source of the motion. window: point tracks over several frames, optimised together; network: the pose network "
        "alone; auto: window if the camera is calibrated.",
        "The pose network alone drifts more. Choose network to get the numbers of published weights.",
        choices=get_args(MotionChoice),
        replaced=(("aligned", "window"),),
    ),
    Option(
        "depth",
        "auto",
        "Source of the depth. fused: the network's depth, corrected by the window's points; network: the network's "
        "depth alone; auto: fused while the window runs.",
        "Choose network to get the numbers of published weights.",
        choices=get_args(DepthChoice),
    ),
    Option(
        "standing_gate",
        True,
        "Hold the pose exactly still while the image does not move.",
        "The pose of a standing robot must not drift.",
    ),
    Option(
        "max_gap_s",
        1.0,
        "Longest time in seconds between two frames that are compared. The motion across a longer gap is unknown.",
        "The networks were trained on neighbouring frames.",
        low=0.01,
        high=60.0,
    ),
    Option(
        "rolling_shutter_s",
        0.0,
        "Seconds from the exposure of the first row to that of the last; 0: a global shutter.",
        "Most cheap sensors take 0.01 to 0.035 s. A wrong value is worse than 0.",
        low=0.0,
        high=0.2,
    ),
    Option(
        "max_speed_mps",
        60.0,
        "Speed in metres per second above which a measured motion is rejected. The motion state is then lost, and the "
        "pose holds.",
        "No car on a road goes faster. Lower it to what the robot can do. It applies while the scale is metric.",
        low=0.01,
        high=1000.0,
    ),
    Option(
        "max_turn_rps",
        10.0,
        "Turn rate in radians per second above which a measured turn is rejected. The motion state is then lost, and "
        "the pose holds.",
        "Neighbouring images of a faster turn do not overlap. Lower it to what the robot can do.",
        low=0.01,
        high=100.0,
    ),
    Option(
        "noise_free_camera",
        False,
        "Treat identical images with new stamps as a standing camera, not as a frozen driver.",
        "A real sensor has noise. Set it to true for a simulator whose camera has none.",
    ),
)

OPTIONS: dict[str, Option] = {option.name: option for option in _OPTIONS}


def options(*names: str) -> tuple[Option, ...]:
    """Return the options with these names, in the order given. Raises KeyError for an unknown name."""
    return tuple(OPTIONS[name] for name in names)


def default(name: str) -> Any:
    """Return the default of the option ``name``. Raises KeyError for an unknown name."""
    return OPTIONS[name].default
