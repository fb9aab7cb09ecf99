"""How network units become metres, and what the answer is worth.

The scale is a state with a source: none (relative), the model itself, a fixed factor, or the camera's height above
the ground. A focal length other than the training camera's is compensated: depth and whatever is measured in it are
multiplied by `ModelInfo.focal_ratio`. Motion is fitted with the live camera where the model can
(`CompactModel.motion_from_features`), else converted (`geometry.se3.refocused_motion`).
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.ground import ground_height
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.types import ScaleSource, ScaleState
from featdepth_ros.models.info import ModelInfo

#: Variance of log scale when nothing is known: a factor of e either way.
RELATIVE_VARIANCE = 1.0
#: Of a model that calls itself metric, on a calibrated camera: 10 %...
MODEL_VARIANCE = 0.1**2
#: ...and on a camera whose calibration is unknown, so that the training camera's is assumed: 50 %.
ASSUMED_CAMERA_VARIANCE = 0.5**2

#: Frames of ground heights whose median is the scale, and how many make it trustworthy.
WINDOW = 30
ENOUGH = 5


class ScaleEstimator:
    """Keeps the scale of one camera.

    Args:
        info: of the weights.
        config: which source to use.
    """

    def __init__(self, info: ModelInfo, config: EstimatorConfig) -> None:
        self._info = info
        self._config = config
        self._log_heights: deque[float] = deque(maxlen=WINDOW)

    def reset(self) -> None:
        """Forget the measured ground heights."""
        self._log_heights.clear()

    def ratio(self, camera: CameraModel | None) -> float:
        """Focal-length ratio to compensate; 1 when compensation is off or one of the cameras is unknown.

        Args:
            camera: pinhole camera of the networks' input.
        """
        if camera is None or self._info.focal is None or not self._config.focal_compensation:
            return 1.0
        return self._info.focal_ratio(camera.fx, camera.fy)

    def update(self, network_depth: Tensor, camera: CameraModel | None) -> ScaleState:
        """Take the depth of one more frame, and return the scale.

        Args:
            network_depth: (1, 1, h, w) float32 in network units, not scaled, on any device.
            camera: pinhole camera of the networks' input; None: uncalibrated.
        """
        if self._config.scale == "camera_height":  # depth need not leave the device otherwise
            self.observe(network_depth[0, 0].cpu().numpy(), camera)
        return self.state(camera)

    def observe(self, network_depth: NDArray[np.float32], camera: CameraModel | None) -> None:
        """Measure the ground in one frame, when the camera's height is the source.

        Args:
            network_depth: (h, w) float32 in network units, not scaled.
            camera: pinhole camera of the networks' input, of which the map may be a resize; None measures nothing.
        """
        if self._config.scale != "camera_height" or camera is None:
            return
        height, width = network_depth.shape
        scaled = network_depth * np.float32(self.ratio(camera))
        measured = ground_height(scaled, camera.resized(width, height))
        if measured is not None:
            self._log_heights.append(math.log(self._config.camera_height_m / measured))

    def state(self, camera: CameraModel | None) -> ScaleState:
        """Return the scale for the camera of the network's input (None: uncalibrated)."""
        ratio = self.ratio(camera)
        kind = self._config.scale
        if kind == "factor":
            return ScaleState("metric", "factor", self._config.scale_factor * ratio, 0.0)
        if kind == "camera_height":
            return self._from_height(ratio)
        if kind == "auto" and self._info.scale_kind == "metric":
            known = camera is not None and self._info.focal is not None
            variance = MODEL_VARIANCE if known else ASSUMED_CAMERA_VARIANCE
            source: ScaleSource = "factor" if self._info.scale_factor != 1.0 else "model"
            return ScaleState("metric", source, self._info.scale_factor * ratio, variance)
        return ScaleState("relative", "none", ratio, RELATIVE_VARIANCE)

    def _from_height(self, ratio: float) -> ScaleState:
        heights = np.array(self._log_heights)
        if len(heights) < ENOUGH:
            return ScaleState("relative", "none", ratio, RELATIVE_VARIANCE)
        middle = float(np.median(heights))
        # Scatter of the median of n measurements, with the floor that a pitched camera or sloped street sets.
        spread = 1.4826 * float(np.median(np.abs(heights - middle)))
        variance = (1.2533 * spread) ** 2 / len(heights) + 0.02**2
        return ScaleState("metric", "camera_height", math.exp(middle) * ratio, variance)
