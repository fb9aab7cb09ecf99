"""The options of networks and estimator, each defined once: default, range, choices, text and reason.

`EstimatorConfig` takes its defaults and limits from here, `featdepth infer` its flags, and the node its parameters.
config/depth.yaml, docs/parameters.md and the ROS descriptors are made from those. Needs neither torch nor ROS.
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
    """One option.

    Attributes:
        name: of the field of `EstimatorConfig` and of the ROS parameter; the flag is made from it.
        default: its type is the option's type.
        description: what it does, one or two sentences.
        reason: why the default is what it is, or when to change it.
        choices: the strings allowed; empty: any.
        low, high: inclusive range of a number.
        live: True: takes effect while the node runs. False: read by `configure`.
        replaced: a word that was a choice once, and the choice that took its place.
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
        """What values are allowed, in words; empty when any."""
        if self.choices:
            return " | ".join(self.choices)
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return ""

    def invalid_reason(self, value: Any) -> str:
        """Return why ``value`` is not allowed, or an empty string."""
        if self.choices and value in dict(self.replaced):
            return f"'{self.name}' is '{value}', which is no longer there: use '{dict(self.replaced)[value]}' instead"
        if self.choices and value not in self.choices:
            return f"'{self.name}' is '{value}'; expected one of {', '.join(self.choices)}"
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            return f"'{self.name}' is {value}; expected {self.range_text}"
        return ""


_OPTIONS = (
    Option(
        "weights",
        "compact",
        "Name of a model that ships, or a file. A file holds weights (.safetensors, or a published .pth), an exported "
        "network (.onnx, .xml), or a depth network of others (.onnx).",
        "The compact model runs on a CPU. A running node takes weights of the same architecture between two frames.",
        live=True,
    ),
    Option(
        "convention",
        "",
        "What a depth network of others expects and gives: a known name, or a YAML file; docs/any-network.md has both.",
        "Empty takes the .yaml beside the .onnx file.",
    ),
    Option(
        "preset",
        "",
        "Depth range and scale a published .pth file does not carry: kitti, kitti_odom, euroc, nyu...",
        "Empty for files that know it themselves.",
    ),
    Option(
        "device",
        "auto",
        "Where the networks run: auto, cpu, cuda, cuda:0...",
        "auto takes a GPU when PyTorch finds one.",
    ),
    Option(
        "precision",
        "auto",
        "Arithmetic of the networks; geometry is always fp32.",
        "auto takes bf16 where the processor is fast at it.",
        choices=get_args(Precision),
    ),
    Option(
        "backend",
        "auto",
        "What computes the networks. auto: the fastest that is installed and gives what PyTorch gives.",
        "PyTorch serves at once; another is built beside it, which takes a minute the first time.",
        choices=get_args(BackendChoice),
    ),
    Option(
        "backend_cache",
        "",
        "Folder of the files that back ends are built into; empty: featdepth_ros in the user's cache folder.",
        "Set it where the home folder is read-only.",
    ),
    Option(
        "backend_cache_mb",
        500.0,
        "Largest size of that folder in megabytes; what was used longest ago is removed.",
        "The compact model takes 20 to 40 MB for each size of images.",
        low=1.0,
        high=1e6,
    ),
    Option(
        "input_height",
        0,
        "Rows the networks see, a multiple of 32; 0: as trained (the compact model takes the camera's aspect).",
        "Smaller is faster and coarser.",
        low=0,
        high=4096,
    ),
    Option(
        "input_width",
        0,
        "Columns the networks see, a multiple of 32; 0: as trained.",
        "Give it together with input_height.",
        low=0,
        high=4096,
    ),
    Option(
        "output_size",
        "network",
        "Size of the depth image, cloud and image_rect: what the networks give, or that of the camera's image.",
        "The network's own size costs least and invents no detail.",
        choices=get_args(OutputSize),
    ),
    Option(
        "min_depth",
        0.1,
        "Nearest valid depth in metres; the node publishes nearer as -Inf (REP-117).",
        "Below it the networks have learned nothing.",
        low=0.001,
        high=1000.0,
    ),
    Option(
        "max_depth",
        80.0,
        "Farthest valid depth in metres; the node publishes farther as +Inf (REP-117).",
        "Lower it indoors.",
        low=0.01,
        high=10000.0,
    ),
    Option(
        "scale",
        "auto",
        "How network units become metres. auto: as the weights say, or by the speed where speed_topic is given; "
        "relative: never; factor: by scale_factor; camera_height: by camera_height_m; speed: by speed_topic.",
        "A single camera cannot see scale: until you answer how high it is or how fast it goes, metres are unverified.",
        choices=get_args(ScaleChoice),
    ),
    Option(
        "scale_factor",
        1.0,
        "Metres per network unit, for scale: factor.",
        "36 for the published weights trained on stereo pairs.",
        low=1e-6,
        high=1e6,
    ),
    Option(
        "camera_height_m",
        1.5,
        "Height of the camera above the ground in metres, for scale: camera_height.",
        "Measure it; an error of 10 % is 10 % in every distance.",
        low=0.01,
        high=100.0,
    ),
    Option(
        "speed_topic",
        "",
        "Topic of the robot's twist, nav_msgs/Odometry or geometry_msgs/TwistStamped; empty: none. It gives the scale.",
        "Wheels know metres, which a single camera does not.",
    ),
    Option(
        "imu_topic",
        "",
        "Topic of a gyroscope, sensor_msgs/Imu, linked to the camera on /tf_static; empty: none. It helps the window "
        "find the rotation.",
        "For quick turns and pictures with little in them; its bias is learnt.",
    ),
    Option(
        "focal_compensation",
        True,
        "Correct depth for a focal length other than the training camera's.",
        "A longer lens makes everything look nearer than it is.",
    ),
    Option(
        "estimate_motion",
        True,
        "Run the pose network and publish odometry.",
        "Set it to false for depth alone.",
    ),
    Option(
        "motion",
        "auto",
        "Where motion comes from. window: tracks over several frames, solved together; network: the pose network "
        "alone; auto: window with a calibrated camera.",
        "The pose network alone drifts more. Choose network to get the numbers of published weights.",
        choices=get_args(MotionChoice),
        replaced=(("aligned", "window"),),
    ),
    Option(
        "depth",
        "auto",
        "Which depth is given. fused: the network's, corrected by the points of the window; network: the network's "
        "alone; auto: fused while the window runs.",
        "Choose network to get the numbers of published weights.",
        choices=get_args(DepthChoice),
    ),
    Option(
        "standing_gate",
        True,
        "Hold the pose exactly still while the picture does not move.",
        "A standing robot must not drift.",
    ),
    Option(
        "max_gap_s",
        1.0,
        "Frames further apart than this are not compared; motion in between is unknown.",
        "The networks were trained on neighbouring frames.",
        low=0.01,
        high=60.0,
    ),
    Option(
        "rolling_shutter_s",
        0.0,
        "Seconds from the exposure of the first row to that of the last; 0: all rows at once.",
        "Most cheap sensors take 0.01 to 0.035 s; a wrong value is worse than 0.",
        low=0.0,
        high=0.2,
    ),
    Option(
        "max_speed_mps",
        60.0,
        "Metres per second above which a measured motion is refused: the state is lost, and the pose holds.",
        "No car on a road goes faster; lower it to what the robot can do. It counts while the scale is metric.",
        low=0.01,
        high=1000.0,
    ),
    Option(
        "max_turn_rps",
        10.0,
        "Radians per second above which a measured turn is refused: the state is lost, and the pose holds.",
        "Neighbouring pictures of so fast a turn share nothing; lower it to what the robot can do.",
        low=0.01,
        high=100.0,
    ),
    Option(
        "noise_free_camera",
        False,
        "Take identical pictures under new stamps for a camera that stands, not for a driver that is frozen.",
        "A real sensor has noise. Set it to true for a simulator whose camera has none.",
    ),
)

OPTIONS: dict[str, Option] = {option.name: option for option in _OPTIONS}


def options(*names: str) -> tuple[Option, ...]:
    """Return options by name, in the order given."""
    return tuple(OPTIONS[name] for name in names)


def default(name: str) -> Any:
    """Return the default of an option."""
    return OPTIONS[name].default
