"""How network units become metres, and what the answer is worth.

The scale is a state with a source: none (relative), the model itself, a fixed factor, or the camera's height above
the ground. A focal length other than the training camera's is compensated. With
r = f_live / f_train, both in pixels of the network's input, the network sees the picture its own camera would take
of a world whose depth axis is shrunk by r. Hence depth and whatever is measured in it are multiplied by r. Motion is
fitted with the live camera where the model can (`CompactModel.motion_from_features`), else converted
(`geometry.se3.refocused_motion`).
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel
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
#: Largest tilt of the ground seen from the camera, radians; further away it is a wall.
MAX_TILT_RAD = math.radians(25.0)


def focal_ratio(info: ModelInfo, camera: CameraModel | None, size: tuple[int, int]) -> float:
    """Return r = f_live / f_train of the module's docstring; 1 when either camera is unknown.

    Args:
        info: of the weights; its ``focal`` is in fractions of width and height of its ``input_size``.
        camera: pinhole camera of the network's input (or of any resize of it).
        size: (height, width) in pixels of the network's input.
    """
    if camera is None or info.focal is None:
        return 1.0
    live = camera.fx / camera.width * size[1] * camera.fy / camera.height * size[0]
    trained = info.focal[0] * info.input_size[1] * info.focal[1] * info.input_size[0]
    return math.sqrt(live / trained)


def ground_height(depth: NDArray[np.float32], camera: CameraModel, rounds: int = 48) -> float | None:
    """Height of the camera over the ground plane, in units of ``depth``.

    Fits a plane by random sampling (RANSAC, Fischler and Bolles 1981; fixed seed) to the points under the lower middle
    of the image, then by least squares to its inliers.

    Args:
        depth: (h, w) float32 z-depth.
        camera: pinhole camera of the map.
        rounds: random planes to try.

    Returns:
        The height, or None when no plane that could be the ground holds most of the points.
    """
    height, width = depth.shape
    v, u = np.mgrid[int(0.65 * height) : height : 3, int(0.25 * width) : int(0.75 * width) : 5]
    z = depth[v, u].astype(np.float64).ravel()
    points = np.stack([(u.ravel() - camera.cx) / camera.fx * z, (v.ravel() - camera.cy) / camera.fy * z, z], axis=1)
    points = points[np.isfinite(z) & (z > 0)]
    if len(points) < 50:
        return None
    random = np.random.default_rng(0)
    best: NDArray[np.bool_] | None = None
    for _ in range(rounds):
        a, b, c = points[random.choice(len(points), 3, replace=False)]
        normal = np.cross(b - a, c - a)
        length = float(np.linalg.norm(normal))
        if length < 1e-9:
            continue
        normal /= length
        if abs(normal[1]) < math.cos(MAX_TILT_RAD):
            continue
        distance = abs(float(normal @ a))
        near = np.abs(points @ normal - normal @ a) < 0.06 * max(distance, 1e-6)
        if best is None or near.sum() > best.sum():
            best = near
    if best is None or best.sum() < 0.5 * len(points):
        return None
    inliers = points[best]
    centre = inliers.mean(axis=0)
    normal = np.linalg.svd(inliers - centre, full_matrices=False)[2][2]
    if abs(normal[1]) < math.cos(MAX_TILT_RAD):
        return None
    height_units = float(normal @ centre) * math.copysign(1.0, normal[1])
    return height_units if height_units > 0 else None


class ScaleEstimator:
    """Keeps the scale of one camera.

    Args:
        info: of the weights.
        config: which source to use.

    Attributes:
        size: (height, width) in pixels of the networks' input.
    """

    def __init__(self, info: ModelInfo, config: EstimatorConfig) -> None:
        self._info = info
        self._config = config
        self.size = config.input_size or info.input_size
        self._log_heights: deque[float] = deque(maxlen=WINDOW)

    def reset(self) -> None:
        """Forget the measured ground heights."""
        self._log_heights.clear()

    def ratio(self, camera: CameraModel | None) -> float:
        """Focal-length ratio to compensate; 1 when compensation is off."""
        return focal_ratio(self._info, camera, self.size) if self._config.focal_compensation else 1.0

    @property
    def measures_ground(self) -> bool:
        """Whether `observe` wants depth maps: they need not leave the device otherwise."""
        return self._config.scale == "camera_height"

    def observe(self, network_depth: NDArray[np.float32], camera: CameraModel | None) -> None:
        """Measure the ground in one frame, when the camera's height is the source.

        Args:
            network_depth: (h, w) float32 in network units, not scaled.
            camera: pinhole camera of the map; None measures nothing.
        """
        if not self.measures_ground or camera is None:
            return
        ratio = self.ratio(camera)
        measured = ground_height(network_depth * np.float32(ratio), camera)
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
