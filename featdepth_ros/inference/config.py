"""Settings of the estimator: one frozen dataclass, used by the node, `featdepth infer` and the library."""

from __future__ import annotations

from dataclasses import dataclass, fields

from featdepth_ros.errors import ConfigError
from featdepth_ros.inference.options import (
    OPTIONS,
    BackendChoice,
    DepthChoice,
    MotionChoice,
    OutputSize,
    Precision,
    ScaleChoice,
    default,
)


@dataclass(frozen=True)
class EstimatorConfig:
    """How the estimator runs. Defaults and limits are those of `inference.options`.

    Attributes:
        output_size: ``network`` (depth at the networks' size) or ``input`` (depth at the size of the delivered image).
        input_size: (height, width) in pixels of the networks' input. None takes the size of the training (the compact
            model: as many pixels, in the aspect ratio of the images).
        precision: ``auto`` (bf16 where the processor has instructions for it, else fp32), ``fp32``, ``bf16``, ``fp16``.
        backend: inference back end: ``torch``, ``onnxruntime``, ``openvino``, ``tensorrt``, or ``auto``, the fastest
            installed one that matches PyTorch in the requested precision.
        backend_cache: folder for the files that back ends build; empty: `backends.cache.default_folder`.
        backend_cache_mb: largest size of that folder, megabytes.
        min_depth, max_depth: metres (model units while relative). Depth outside this range is reported, but not valid.
        scale: ``auto`` (as the weights define), ``relative``, ``factor``, ``camera_height``, ``speed`` (of
            the robot, see `inference.sensing`; needs the window).
        scale_factor: metres per network unit, for ``factor``.
        camera_height_m: height of the camera above the ground, metres, for ``camera_height``.
        focal_compensation: correct the depth for a focal length that differs from the training camera's.
        estimate_motion: run the pose network.
        motion: one of three.
            - ``window`` optimises tracks over several frames (`inference.window`); it needs a calibrated camera.
            - ``network`` takes the motion of the pose network.
            - ``auto`` is ``window`` where numba is installed.
        depth: one of three.
            - ``fused`` corrects the network's depth by the points of the window (`inference.fusion`).
            - ``network`` takes the network's depth without correction.
            - ``auto`` is ``fused`` while the window runs.
        standing_gate: hold the pose exactly still while the image does not move.
        max_gap_s: longest time between two frames that are compared, seconds.
        rolling_shutter_s: seconds from the exposure of the first row to that of the last; the window models it.
        max_speed_mps: metres per second; a faster motion is rejected while the scale is metric.
        max_turn_rps: radians per second; a faster turn is rejected.
        noise_free_camera: identical images with new stamps come from a standing camera, not from a frozen driver.

    Raises:
        ConfigError: a value is out of its range, or two values contradict each other.
    """

    output_size: OutputSize = default("output_size")
    input_size: tuple[int, int] | None = None
    precision: Precision = default("precision")
    backend: BackendChoice = default("backend")
    backend_cache: str = default("backend_cache")
    backend_cache_mb: float = default("backend_cache_mb")
    min_depth: float = default("min_depth")
    max_depth: float = default("max_depth")
    scale: ScaleChoice = default("scale")
    scale_factor: float = default("scale_factor")
    camera_height_m: float = default("camera_height_m")
    focal_compensation: bool = default("focal_compensation")
    estimate_motion: bool = default("estimate_motion")
    motion: MotionChoice = default("motion")
    depth: DepthChoice = default("depth")
    standing_gate: bool = default("standing_gate")
    max_gap_s: float = default("max_gap_s")
    rolling_shutter_s: float = default("rolling_shutter_s")
    max_speed_mps: float = default("max_speed_mps")
    max_turn_rps: float = default("max_turn_rps")
    noise_free_camera: bool = default("noise_free_camera")

    def __post_init__(self) -> None:
        for field in fields(self):
            reason = OPTIONS[field.name].invalid_reason(getattr(self, field.name)) if field.name in OPTIONS else ""
            if reason:
                raise ConfigError(reason)
        if self.depth == "fused" and self.motion == "network":
            raise ConfigError(
                "depth 'fused' needs the points of the window, and motion is 'network'; set motion to 'window'"
            )
        if self.scale == "speed" and (self.motion == "network" or not self.estimate_motion):
            raise ConfigError(
                "scale 'speed' compares the robot's speed with the window's motion; set motion to 'window' or 'auto', "
                "and estimate_motion to true"
            )
        if not self.min_depth < self.max_depth:
            raise ConfigError(f"depth range is {self.min_depth} to {self.max_depth}; expected min_depth < max_depth")
        if self.input_size is not None and any(side < 32 or side % 32 for side in self.input_size):
            raise ConfigError(
                f"input_size is {self.input_size}; expected (height, width), both multiples of 32 and at least 32"
            )
