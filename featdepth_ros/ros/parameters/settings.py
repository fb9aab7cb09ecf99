"""The values of the parameters at one moment, and the checks of new values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node
from rclpy.parameter import Parameter as RclParameter

from featdepth_ros.errors import nearest_name
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.options import Option
from featdepth_ros.inference.sensing.sensors import scale_with_sensors
from featdepth_ros.ros.parameters.definitions import SCHEMA
from featdepth_ros.ros.parameters.schema import declare

#: Names that can be part of a topic name.
_CAMERA_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*")


@dataclass(frozen=True)
class Settings:
    """The values of all parameters at one moment; field names are the parameters' names."""

    autostart: bool
    watchdog_s: float
    diagnostics_period_s: float
    cameras: list[str]
    odometry_camera: str
    window_cameras: list[str]
    weights: str
    preset: str
    convention: str
    device: str
    cpu_threads: int
    precision: str
    backend: str
    backend_cache: str
    backend_cache_mb: float
    input_height: int
    input_width: int
    output_size: str
    min_depth: float
    max_depth: float
    depth: str
    min_valid_share: float
    depth_encoding: str
    scale: str
    scale_factor: float
    camera_height_m: float
    speed_topic: str
    focal_compensation: bool
    estimate_motion: bool
    motion: str
    imu_topic: str
    standing_gate: bool
    max_gap_s: float
    rolling_shutter_s: float
    max_speed_mps: float
    max_turn_rps: float
    noise_free_camera: bool
    base_frame: str
    odom_frame: str
    camera_frame: str
    extrinsics_timeout_s: float
    publish_tf: bool
    invert_tf: bool
    publish_relative_odometry: bool
    image_transport: str
    reliability: str
    rectified_input: str
    camera_info_timeout_s: float
    max_rate_hz: float
    publisher_reliability: str
    lazy: bool
    cloud_min_height_m: float
    cloud_max_height_m: float
    cloud_max_range_m: float
    cloud_voxel_m: float
    cloud_dense: bool

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the cameras; one empty name when there is only one camera."""
        return tuple(name for name in self.cameras if name) or ("",)

    @property
    def first_camera(self) -> str:
        """Name of the camera that odometry comes from."""
        return self.odometry_camera or self.camera_names[0]

    @property
    def own_windows(self) -> tuple[str, ...]:
        """Names of the cameras that measure their own motion beside the odometry camera."""
        return tuple(name for name in self.window_cameras if name and name != self.first_camera)

    def estimator_config(self) -> EstimatorConfig:
        """Return the settings of the estimator.

        Raises:
            ConfigError: the values contradict each other.
        """
        size = (self.input_height, self.input_width)
        shared = {f.name for f in fields(EstimatorConfig)} & {f.name for f in fields(self)}
        values = {name: getattr(self, name) for name in shared}
        values["scale"] = scale_with_sensors(self.scale, self.speed_topic)
        return EstimatorConfig(**values, input_size=None if size == (0, 0) else size)


def declare_parameters(node: Node) -> None:
    """Declare all parameters. Overrides that do not fit raise rclpy's InvalidParameterValueException."""
    declare(node, SCHEMA.values())


def read_settings(node: Node) -> Settings:
    """Return the node's current values. `declare_parameters` must have run."""
    return Settings(**{name: _value(node, name) for name in SCHEMA})


def _value(node: Node, name: str) -> Any:
    try:
        return node.get_parameter(name).value
    except ParameterUninitializedException:
        return SCHEMA[name].default  # an empty list in a parameter file arrives as no value at all


def rejection_reason(
    changes: Sequence[RclParameter], state: str, find: Callable[[str], Option | None] = SCHEMA.get
) -> str:
    """Return why a change is rejected; an empty string when it can be applied.

    Args:
        changes: the parameters to set, with their new values.
        state: label of the lifecycle state the node is in.
        find: returns the option behind a parameter's name, None for parameters of ROS itself.
    """
    for change in changes:
        parameter = find(change.name)
        if parameter is None:
            continue
        if change.value is None:
            continue  # declared without a value
        reason = parameter.invalid_reason(change.value)
        if reason:
            return reason
        if not parameter.live and state != "unconfigured":
            return (
                f"'{change.name}' is read by configure and the node is {state}: deactivate it, clean it up, set the "
                "parameter, then configure and activate again"
            )
    return ""


def unknown_names(
    given: Iterable[str],
    find: Callable[[str], Option | None] = SCHEMA.get,
    known: Iterable[str] = SCHEMA,
) -> list[str]:
    """Return a sentence for every unknown parameter given at the start. ROS itself ignores them silently.

    Args:
        given: names of the parameters given at the start.
        find: returns the option behind a parameter's name; None: the node has no such parameter.
        known: names that may be suggested instead.
    """
    of_ros = ("use_sim_time", "start_type_description_service")
    strange = [n for n in given if n not in of_ros and find(n) is None and not n.startswith("qos_overrides.")]
    names = list(known)
    return [f"parameter '{name}' is unknown to this node and ignored{nearest_name(name, names)}" for name in strange]


def invalid_values(settings: Settings) -> list[str]:
    """Return what is wrong with values that ROS itself does not check (choices, values that contradict each other)."""
    reasons = [SCHEMA[f.name].invalid_reason(getattr(settings, f.name)) for f in fields(settings)]
    if settings.base_frame == settings.odom_frame:
        reasons.append(f"'base_frame' and 'odom_frame' are both '{settings.odom_frame}'; expected two different frames")
    for name in ("base_frame", "odom_frame"):
        frame = getattr(settings, name)
        if not frame or frame.startswith("/"):
            reasons.append(f"'{name}' is '{frame}'; expected a name without a leading slash, which tf2 rejects")
    if 0 < settings.max_rate_hz and settings.max_rate_hz * settings.max_gap_s < 1:
        reasons.append(
            f"'max_rate_hz' is {settings.max_rate_hz:g} and 'max_gap_s' is {settings.max_gap_s:g}: the images would be "
            "too far apart to measure motion; raise one of the two"
        )
    if settings.cloud_min_height_m >= settings.cloud_max_height_m:
        reasons.append(
            f"'cloud_min_height_m' is {settings.cloud_min_height_m:g} and 'cloud_max_height_m' is "
            f"{settings.cloud_max_height_m:g}; expected a minimum below the maximum"
        )
    return [reason for reason in reasons if reason]


def wrong_cameras(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the names of cameras, and with parameters that refer to them."""
    names = settings.camera_names
    for name in names:
        if name and not _CAMERA_NAME.fullmatch(name):
            yield f"'cameras' names '{name}'; expected letters, digits and underscores, a letter first"
        if names.count(name) > 1:
            yield f"'cameras' names '{name}' more than once; give every camera a name of its own"
    if len(names) > 1 and settings.camera_frame:
        yield f"'camera_frame' is set and there are {len(names)} cameras; set {names[0]}.camera_frame and so on instead"
    wanted = {"odometry_camera": [settings.odometry_camera], "window_cameras": settings.window_cameras}
    for parameter, chosen in wanted.items():
        for name in chosen:
            if name and name not in names:
                expected = f"expected one of {', '.join(names)}" if names[0] else "cameras is empty"
                yield f"'{parameter}' names '{name}'; {expected}{nearest_name(name, names)}"


def changed_live(settings: Settings, changes: Sequence[RclParameter]) -> dict[str, Any]:
    """Return the live parameters among ``changes`` whose value differs from ``settings``."""
    return {
        c.name: c.value
        for c in changes
        if c.name in SCHEMA and SCHEMA[c.name].live and getattr(settings, c.name) != c.value
    }
