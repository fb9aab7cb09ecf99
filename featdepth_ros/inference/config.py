"""Settings of the estimator: one frozen dataclass, used by the node, `featdepth infer` and the library."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from featdepth_ros.errors import ConfigError


@dataclass(frozen=True)
class EstimatorConfig:
    """How the estimator runs.

    Attributes:
        output_size: ``network`` (depth at the networks' size) or ``input`` (at the size of the delivered image).
        input_size: (height, width) the networks run at; None takes what the weights were trained at (the compact
            model: as many pixels, in the images' own aspect).
        precision: ``auto`` (bf16 where the processor has instructions for it, else fp32), ``fp32``, ``bf16``, ``fp16``.
        min_depth, max_depth: metres (model units while relative); outside this range depth is reported, not valid.
        scale: ``auto`` (what the weights say), ``relative``, ``factor``, ``camera_height``.
        scale_factor: metres per network unit, for ``factor``.
        camera_height_m: height of the camera above the ground, metres, for ``camera_height``.
        focal_compensation: correct for a focal length other than the training camera's.
        estimate_motion: run the pose network.
        motion: ``network`` takes the pose network's answer, ``aligned`` sharpens it on tracked points with the depth
            (`inference.alignment`; needs a calibrated camera), ``auto`` aligns with the compact model and keeps the
            published networks' own numbers.
        standing_gate: hold the pose exactly still while the picture does not move.
        max_gap_s: seconds; an earlier frame older than this is not paired.
    """

    output_size: Literal["network", "input"] = "network"
    input_size: tuple[int, int] | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    min_depth: float = 0.1
    max_depth: float = 80.0
    scale: Literal["auto", "relative", "factor", "camera_height"] = "auto"
    scale_factor: float = 1.0
    camera_height_m: float = 1.5
    focal_compensation: bool = True
    estimate_motion: bool = True
    motion: Literal["auto", "network", "aligned"] = "auto"
    standing_gate: bool = True
    max_gap_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.min_depth < self.max_depth < math.inf:
            raise ConfigError(
                f"depth range is {self.min_depth} to {self.max_depth}; expected 0 < min_depth < max_depth, finite"
            )
        if self.scale == "factor" and not 0 < self.scale_factor < math.inf:
            raise ConfigError(f"scale_factor is {self.scale_factor}; expected a positive number")
        if self.scale == "camera_height" and not 0 < self.camera_height_m < math.inf:
            raise ConfigError(f"camera_height_m is {self.camera_height_m}; expected a positive number of metres")
        if not self.max_gap_s > 0:
            raise ConfigError(f"max_gap_s is {self.max_gap_s}; expected a positive number of seconds")
        if self.input_size is not None and any(side < 32 or side % 32 for side in self.input_size):
            raise ConfigError(
                f"input_size is {self.input_size}; expected (height, width), both multiples of 32 and at least 32"
            )
