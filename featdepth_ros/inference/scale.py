"""Conversion of network units to metres, with its uncertainty.

The source of the scale is none (relative), the model itself, a fixed factor, the camera's height above the ground, or
the robot's speed. A focal length that differs from the training camera's is compensated: depth and lengths are
multiplied by `ModelInfo.focal_ratio`. Motion is fitted with the actual camera if the model supports it
(`CompactModel.motion_from_features`), else converted (`geometry.se3.refocused_motion`).

When weights are swapped at run time, the new ones keep the current scale, so that neither depth nor motion jumps.

The kind of the scale follows these rules:

- ``metric``: the scale was determined for this camera. The user gave a factor; or gave the camera's height, and the
  ground was found; or the robot's speed was compared with the camera's motion.
- ``metric_unverified``: the weights were trained in metres, and nothing verifies them here. The network cannot verify
  itself: it shows a road at the camera height of its training, for any actual height. The variance is that of the
  weights while the ground appears at that height, with about the same focal length. Otherwise it is large.
- ``relative``: neither of these.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.ground import ground_height
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.frame import EncodedFrame
from featdepth_ros.inference.types import ScaleSource, ScaleState
from featdepth_ros.inference.window.types import ScaleOrigin, WindowResult, WindowState
from featdepth_ros.models.info import ModelInfo

#: Variance of the log scale without any information: a factor of e in both directions.
RELATIVE_VARIANCE = 1.0
#: Variance of the log scale of a metric model in a place that differs from its training. An earlier `compact-nc` showed
#: a kitchen half as far again as it is, and TUM's office off by 0.36 in the logarithm (docs/results.md).
STRANGE_VARIANCE = 0.5**2
#: Additional variance of an uncalibrated camera, for which the training camera's calibration is assumed.
ASSUMED_CAMERA_VARIANCE = 0.5**2

#: Number of frames whose median ground height is the scale, and the number that makes it trustworthy.
WINDOW = 30
ENOUGH = 5
#: A place is like the training if the ground appears within this log distance of the training height in half of the
#: checked frames. The focal length may differ by this factor. The last is the number of frames between two checks.
LIKE_HEIGHT, LIKE_FOCAL, LOOKED_AT = 0.2, 2.0, 5
#: Least number of the window's points in a frame that determine the scale of the network's depth.
FEWEST_POINTS = 20


class ScaleEstimator:
    """Keeps the scale of one camera.

    Args:
        info: description of the weights.
        config: configuration with the source of the scale.
    """

    def __init__(self, info: ModelInfo, config: EstimatorConfig) -> None:
        self._info = info
        self._config = config
        self._log_heights: deque[float] = deque(maxlen=WINDOW)
        self._log_factors: deque[float] = deque(maxlen=WINDOW)
        self._as_trained: deque[bool] = deque(maxlen=WINDOW)
        self._frames = 0
        self._log_bound = 0.0  # log factor that converts new weights to the scale of the replaced ones

    def reset(self) -> None:
        """Remove all measurements."""
        for measured in (self._log_heights, self._log_factors, self._as_trained):
            measured.clear()
        self._frames = 0

    def take_weights(self, info: ModelInfo, log_ratio: float | None, camera: CameraModel | None) -> None:
        """Continue with other weights in the same published unit, by the ratio of old and new depth.

        Args:
            info: description of the new weights, which have the same kind of scale.
            log_ratio: logarithm of the old depth over the new one for the same images, network units. None: nothing
                was published yet, and the new weights use their own scale.
            camera: pinhole camera of the networks' input; None: uncalibrated.
        """
        old, ratio = self._info, self.ratio(camera)
        self._info = info
        self._as_trained.clear()
        if log_ratio is None:
            return
        change = log_ratio + math.log(ratio / self.ratio(camera))
        for measured in (self._log_heights, self._log_factors):
            for place, value in enumerate(measured):
                measured[place] = value + change
        own = math.log(old.scale_factor / info.scale_factor) if self._is_own else 0.0
        self._log_bound += change + own

    @property
    def _is_own(self) -> bool:
        """Whether the scale is the weights' own while nothing measures it."""
        return self._config.scale not in ("factor", "relative") and self._info.scale_kind == "metric"

    def ratio(self, camera: CameraModel | None) -> float:
        """Focal-length ratio to compensate; 1 when compensation is off or one of the cameras is unknown.

        Args:
            camera: pinhole camera of the networks' input.
        """
        if camera is None or self._info.focal is None or not self._config.focal_compensation:
            return 1.0
        return self._info.focal_ratio(camera.fx, camera.fy)

    def update(self, network_depth: Tensor | Callable[[], Tensor], camera: CameraModel | None) -> ScaleState:
        """Add the depth of a frame, and return the scale.

        Args:
            network_depth: (1, 1, h, w) float32 in network units, not scaled; or a function that returns it on demand.
            camera: pinhole camera of the networks' input; None: uncalibrated.
        """
        look = self._config.scale == "camera_height" or (self._asks_model and self._frames % LOOKED_AT == 0)
        self._frames += 1
        if look:  # otherwise the depth is not fetched, because the networks may still be running
            depth = network_depth() if callable(network_depth) else network_depth
            self.observe(depth[0, 0].cpu().numpy(), camera)
        return self.state(camera)

    @property
    def _asks_model(self) -> bool:
        """Whether the scale is the weights' own, and they store the camera height for which it is valid."""
        own = self._config.scale in ("auto", "speed") and self._info.scale_kind == "metric"
        return own and self._info.metric_height_m > 0

    def observe(self, network_depth: NDArray[np.float32], camera: CameraModel | None) -> None:
        """Measure the ground in one frame, for the scale by the camera's height or to compare it with the training.

        Args:
            network_depth: (h, w) float32 in network units, not scaled.
            camera: pinhole camera of the networks' input, of which the map may be a resize; None: no measurement.
        """
        if camera is None or not (self._config.scale == "camera_height" or self._asks_model):
            return
        height, width = network_depth.shape
        scaled = network_depth * np.float32(self.ratio(camera))
        measured = ground_height(scaled, camera.resized(width, height))
        if self._config.scale == "camera_height":
            if measured is not None:
                self._log_heights.append(math.log(self._config.camera_height_m / measured))
            return
        trained = self._info.metric_height_m / (self._info.scale_factor * math.exp(self._log_bound))
        self._as_trained.append(measured is not None and abs(math.log(trained / measured)) < LIKE_HEIGHT)

    def observe_points(self, frame: EncodedFrame, window: WindowResult | None) -> None:
        """Measure the scale of the network's depth by the window's points, if the robot's speed is the source.

        Args:
            frame: frame with the network's depth.
            window: result of the window for this frame; None: there is none.
        """
        camera = frame.depth_camera
        if self._config.scale != "speed" or window is None or window.camera is None or camera is None:
            return
        if window.scale_origin is not ScaleOrigin.SPEED or window.state is not WindowState.TRACKED:
            return
        points = window.points
        measured = points.information > 1.0 / RELATIVE_VARIANCE
        place = points.pixels[measured] * (camera.width / window.camera.width, camera.height / window.camera.height)
        columns, rows = np.rint(place).astype(int).T
        inside = (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
        if inside.sum() < FEWEST_POINTS:
            return
        network_depth = frame.network_depth[0, 0].cpu().numpy()[rows[inside], columns[inside]] * self.ratio(
            frame.rectified.camera
        )
        self._log_factors.append(float(np.median(np.log(points.depth[measured][inside] / network_depth))))

    def state(self, camera: CameraModel | None) -> ScaleState:
        """Return the scale for the camera of the network's input (None: uncalibrated)."""
        ratio = self.ratio(camera)
        kind = self._config.scale
        if kind == "factor":
            return ScaleState("metric", "factor", self._config.scale_factor * ratio * math.exp(self._log_bound), 0.0)
        if kind == "camera_height" and len(self._log_heights) >= ENOUGH:
            return _measured("camera_height", self._log_heights, ratio)
        if kind == "speed" and len(self._log_factors) >= ENOUGH:
            return _measured("speed", self._log_factors, ratio)
        ratio *= math.exp(self._log_bound)
        if self._is_own:
            return self._by_model(camera, ratio)
        return ScaleState("relative", "none", ratio, RELATIVE_VARIANCE)

    def _by_model(self, camera: CameraModel | None, ratio: float) -> ScaleState:
        as_trained = len(self._as_trained) >= ENOUGH and np.mean(self._as_trained) >= 0.5
        if camera is None or self._info.focal is None:
            variance = STRANGE_VARIANCE + ASSUMED_CAMERA_VARIANCE
        else:
            lens = 1 / LIKE_FOCAL < self._info.focal_ratio(camera.fx, camera.fy) < LIKE_FOCAL
            variance = self._info.scale_sigma**2 if as_trained and lens else STRANGE_VARIANCE
        source: ScaleSource = "factor" if self._info.scale_factor != 1.0 else "model"
        return ScaleState("metric_unverified", source, self._info.scale_factor * ratio, variance)


def _measured(source: ScaleSource, logarithms: deque[float], ratio: float) -> ScaleState:
    """Return the scale from measured logarithms of metres per network unit, which exclude the focal ratio."""
    values = np.array(logarithms)
    middle = float(np.median(values))
    # Variance of the median of n measurements, with a floor for a pitched camera or a sloped street.
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    variance = (1.2533 * spread) ** 2 / len(values) + 0.02**2
    return ScaleState("metric", source, math.exp(middle) * ratio, variance)
