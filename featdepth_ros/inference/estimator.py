"""Image in, depth and motion out: one camera, frame by frame. No ROS, no files, no threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.errors import FeatDepthError, ImageError
from featdepth_ros.geometry import se3, se3_numpy, warp
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.geometry.projection import backproject, project
from featdepth_ros.geometry.rectification import Rectification
from featdepth_ros.inference import validity
from featdepth_ros.inference.alignment import View, align
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.networks import Networks, fitting_size, resolve_device
from featdepth_ros.inference.scale import ScaleEstimator
from featdepth_ros.inference.standing import StandingGate
from featdepth_ros.inference.types import Estimate, Motion, MotionState, ScaleState
from featdepth_ros.models.base import FeatDepthModel

#: Standard deviations of a tracked motion: a share of its size (larger for the pose network alone) and a floor,
#: metres and radians.
_TRACKED_SHARE, _NETWORK_SHARE, _TRACKED_FLOOR_M, _TRACKED_FLOOR_RAD = 0.05, 0.2, 0.005, 0.0005
#: Of a standing camera.
_STANDING_M, _STANDING_RAD = 1e-4, 1e-5
#: Of a motion that was not measured: what a fast vehicle does in a second.
_UNKNOWN_M, _UNKNOWN_RAD = 30.0, 1.0


@dataclass
class _Frame:
    """What is kept of the earlier frame of a pair."""

    stamp_ns: int
    observation: Any
    network_depth: Tensor
    view: View | None = None


class Estimator:
    """Estimates depth and motion of one moving camera.

    Frames are paired by stamp: the motion is between the frames the estimator was given, however many were dropped
    between them, and depth never depends on the earlier frame.

    Args:
        model: from `load_model`; put into eval mode, otherwise left alone.
        config: see `EstimatorConfig`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``; None is ``auto``.

    Raises:
        FeatDepthError: the model has no depth net.
        ConfigError: the device or precision is not to be had.
    """

    def __init__(
        self, model: FeatDepthModel, config: EstimatorConfig | None = None, *, device: str | None = None
    ) -> None:
        if not isinstance(model, FeatDepthModel):
            raise FeatDepthError(f"model is a {type(model).__name__}; expected what load_model returns")
        self.config = config or EstimatorConfig()
        self.device = resolve_device(device)
        self.info = model.info
        self._networks = Networks(model, self.device, self.config.precision)
        self._size = self.config.input_size or self.info.input_size
        self._scale = ScaleEstimator(self.info, self.config)
        self._gate = StandingGate()
        self._chain: Rectification | None = None
        self._full_chain: Rectification | None = None
        self._chain_key: tuple[CameraModel | None, tuple[int, int]] | None = None
        self._earlier: _Frame | None = None
        self._last_stamp_ns: int | None = None
        self._stage_ms: dict[str, float] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels that the networks run at; with input_size None it follows the images."""
        return self._size

    @property
    def precision(self) -> str:
        """What the networks compute in: ``fp32``, ``bf16`` or ``fp16``."""
        return self._networks.precision

    def reset(self) -> None:
        """Forget the earlier frame: the next one is a first frame. The scale stays."""
        self._earlier = None
        self._last_stamp_ns = None
        self._gate.reset()

    def warm_up(self, delivered_size: tuple[int, int], camera: CameraModel | None = None) -> None:
        """Run twice on grey images of (width, height), so that the first real frame is as fast as the others."""
        grey = np.full((delivered_size[1], delivered_size[0], 3), 127, dtype=np.uint8)
        grey[::2] = 90
        for stamp_ns in (1, 2):
            self.step(grey, camera, stamp_ns)
            grey = np.roll(grey, 8, axis=1)
            grey[:, ::3] = 60
        self.reset()
        self._scale.reset()

    @torch.inference_mode()
    def step(self, image: NDArray[np.uint8], camera: CameraModel | None, stamp_ns: int) -> Estimate:
        """Take one frame.

        Args:
            image: (H, W, 3) uint8 RGB as delivered (not rectified).
            camera: its calibration; None: uncalibrated, the training camera's field of view is assumed.
            stamp_ns: time of exposure, nanoseconds. A stamp not after the last one starts a new pair.

        Returns:
            The estimate; see `Estimate`.

        Raises:
            ImageError: not an (H, W, 3) uint8 array.
            CalibrationError: the calibration is for images of another size.
        """
        if not isinstance(image, np.ndarray):
            raise ImageError(f"image is a {type(image).__name__}; expected a uint8 array (H, W, 3), RGB")
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape[:2]) < 2:
            raise ImageError(f"image is {image.dtype} of shape {image.shape}; expected uint8 (H, W, 3), RGB")
        self._stage_ms = {}
        with self._timed("rectify"):
            chain = self._chain_for(camera, (image.shape[1], image.shape[0]))
            network_image = chain.apply(image)
        with self._timed("depth"):
            observation = self._networks.observe(network_image)
            network_depth = self._networks.depth(observation)
        if self._scale.measures_ground:
            self._scale.observe(network_depth[0, 0].cpu().numpy(), self._half_camera(network_depth))
        scale = self._scale.state(chain.camera)
        with self._timed("motion"):
            frame = _Frame(stamp_ns, observation, network_depth)
            motion = self._motion(frame, network_image, chain.camera, scale)
        with self._timed("validity"):
            valid = self._valid(network_depth, chain, scale, motion)
        with self._timed("output"):
            estimate = self._estimate(image, network_image, network_depth, valid, motion, scale, stamp_ns)
        # A standing camera keeps its anchor, so that creeping motion is measured from where it began.
        if motion.state is not MotionState.STANDING:
            self._earlier = frame
        self._last_stamp_ns = stamp_ns
        return estimate

    def to_delivered(self, values: NDArray[Any]) -> NDArray[Any]:
        """Resample a map of the last estimate onto the raw pixels of the delivered image.

        Args:
            values: (h, w) at network size: depth (float32, interpolated in inverse depth, finite everywhere) or a
                mask (bool; False outside the rectified view).

        Returns:
            (H, W) of the same type.
        """
        assert self._chain is not None, "step has not been called"
        if values.dtype == np.bool_:
            mask = self._chain.to_delivered(torch.from_numpy(values), "nearest")
            return np.asarray((mask.to(self.device) & self._chain.delivered_in_view).cpu().numpy())
        return np.asarray(self._chain.to_delivered(torch.from_numpy(values)).cpu().numpy())

    # -- parts of a step ------------------------------------------------------------------------------------------

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._stage_ms[stage] = (time.perf_counter() - start) * 1e3

    def _chain_for(self, camera: CameraModel | None, delivered: tuple[int, int]) -> Rectification:
        if self._chain is None or self._chain_key != (camera, delivered):
            self._size = self._scale.size = self.config.input_size or fitting_size(self.info, *delivered)
            self._chain = Rectification(camera, delivered, self._size, self.device)
            self._full_chain = None
            if self.config.output_size == "input" and not self._chain.is_pure_resize:
                self._full_chain = Rectification(camera, delivered, (delivered[1], delivered[0]), self.device)
            self._chain_key = (camera, delivered)
            # Another camera or size: pixels of the earlier frame mean something else.
            self.reset()
        return self._chain

    def _half_camera(self, network_depth: Tensor) -> CameraModel | None:
        camera = self._chain.camera if self._chain else None
        return camera.resized(network_depth.shape[-1], network_depth.shape[-2]) if camera else None

    def _motion(self, later: _Frame, image: Tensor, camera: CameraModel | None, scale: ScaleState) -> Motion:
        last, earlier = self._last_stamp_ns, self._earlier
        if not self._networks.has_pose or not self.config.estimate_motion:
            return _unmeasured(MotionState.UNAVAILABLE, 0 if last is None else later.stamp_ns - last)
        first = last is None or earlier is None or later.stamp_ns <= last
        dt_ns = 0 if first else later.stamp_ns - last  # type: ignore[operator]
        gap = dt_ns > self.config.max_gap_s * 1e9
        if first or gap:
            self._gate.reset()
        stands = self.config.standing_gate and self._gate.stands(image[0].permute(1, 2, 0).cpu().numpy())
        if not stands:  # a standing frame is let go: nothing will be aligned with it
            later.view = self._view(image, later.network_depth, scale)
        if first or gap or earlier is None:
            return _unmeasured(MotionState.GAP if gap else MotionState.FIRST, dt_ns)
        if stands:
            floor = np.diag([_STANDING_M**2] * 3 + [_STANDING_RAD**2] * 3)
            return Motion(MotionState.STANDING, np.eye(4), dt_ns, floor)
        ratio = self._scale.ratio(camera)
        axisangle, translation = self._networks.motion(earlier.observation, later.observation, camera, ratio)
        moved = translation.double() * scale.factor
        T_later_earlier = np.asarray(se3.pose_matrix(axisangle.double()[None], moved[None])[0].numpy())
        if earlier.view is not None and later.view is not None and camera is not None:
            aligned = align(earlier.view, later.view, camera, T_later_earlier)
            if aligned is not None:
                return _tracked(aligned.T_later_earlier, dt_ns, scale, aligned.covariance)
        return _tracked(T_later_earlier, dt_ns, scale, None)

    def _view(self, image: Tensor, network_depth: Tensor, scale: ScaleState) -> View | None:
        """What alignment needs of a frame; None when it is not to be aligned."""
        chain = self._chain
        wanted = self.config.motion == "aligned" or (
            self.config.motion == "auto" and self.info.architecture == "compact"
        )
        if not wanted or chain is None or chain.camera is None:
            return None
        depth = scale.factor / warp.resize_bilinear(1.0 / network_depth, *self._size)
        # Far points tell rotation, near ones translation: all that lie on one surface serve.
        trusted = validity.off_edges(depth) & chain.in_image
        grey = image.mul(255.0).round().mean(dim=1).to(torch.uint8)
        return View(grey[0].cpu().numpy(), depth[0, 0].cpu().numpy(), trusted[0, 0].cpu().numpy())

    def _valid(self, network_depth: Tensor, chain: Rectification, scale: ScaleState, motion: Motion) -> Tensor:
        """(1, 1, h, w) bool at network size; see `inference.validity`."""
        depth = network_depth * scale.factor
        mask = (depth > self.config.min_depth) & (depth < self.config.max_depth) & validity.off_edges(depth)
        camera = self._half_camera(network_depth)
        if motion.state is MotionState.TRACKED and camera is not None and self._earlier is not None:
            mask &= self._agrees(depth, self._earlier.network_depth * scale.factor, camera, motion)
        full = warp.resize_nearest(mask.float(), *self._size) > 0.5
        return full & chain.in_image

    @staticmethod
    def _agrees(depth: Tensor, earlier: Tensor, camera: CameraModel, motion: Motion) -> Tensor:
        K = torch.from_numpy(camera.K)[None].to(depth)
        T = torch.from_numpy(motion.T_previous_current)[None].to(depth)
        pixels, predicted = project(backproject(depth, K), K, T)
        seen = warp.sample_pixels(earlier, pixels)
        height, width = depth.shape[-2:]
        x, y = pixels[..., 0], pixels[..., 1]
        covered = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        return validity.agrees(predicted, seen, covered[:, None] & (predicted > 0))

    def _estimate(
        self,
        image: NDArray[np.uint8],
        network_image: Tensor,
        network_depth: Tensor,
        valid: Tensor,
        motion: Motion,
        scale: ScaleState,
        stamp_ns: int,
    ) -> Estimate:
        assert self._chain is not None
        chain, in_image = self._chain, self._chain.in_image
        camera, picture = chain.camera, network_image
        height, width = self._size
        if self.config.output_size == "input":
            height, width = image.shape[:2]
            camera = camera.resized(width, height) if camera else None
            valid = warp.resize_nearest(valid.float(), height, width) > 0.5
            if self._full_chain is not None:
                in_image, picture = self._full_chain.in_image, self._full_chain.apply(image)
            else:
                in_image = torch.ones(height, width, dtype=torch.bool)
        # Interpolate inverse depth: it is linear in the image across a plane, depth is not.
        depth = scale.factor / warp.resize_bilinear(1.0 / network_depth, height, width)
        delivered_as_is = self.config.output_size == "input" and self._full_chain is None
        return Estimate(
            stamp_ns=stamp_ns,
            image=image if delivered_as_is else _to_bytes(picture),
            camera=camera,
            depth=depth[0, 0].cpu().numpy(),
            valid=valid[0, 0].cpu().numpy() & in_image.cpu().numpy(),
            in_image=in_image.cpu().numpy(),
            min_depth=self.config.min_depth,
            max_depth=self.config.max_depth,
            sigma=None,
            motion=motion,
            scale=scale,
            stage_ms=self._stage_ms,
        )


def _to_bytes(image: Tensor) -> NDArray[np.uint8]:
    return np.asarray(image[0].mul(255.0).round_().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy())


def _unmeasured(state: MotionState, dt_ns: int) -> Motion:
    covariance = np.diag([_UNKNOWN_M**2] * 3 + [_UNKNOWN_RAD**2] * 3)
    return Motion(state, np.eye(4), dt_ns, covariance)


def _tracked(
    T_later_earlier: NDArray[np.float64],  # noqa: N803 - the field's name
    dt_ns: int,
    scale: ScaleState,
    measured: NDArray[np.float64] | None,
) -> Motion:
    """Attach a covariance: floor and share of the motion's size, the scale's doubt, and what the residuals say."""
    T_previous_current = se3_numpy.inverse(T_later_earlier)
    distance = float(np.linalg.norm(T_previous_current[:3, 3]))
    angle = float(np.linalg.norm(se3_numpy.vector_from_rotation(T_previous_current[:3, :3])))
    share = _TRACKED_SHARE if measured is not None else _NETWORK_SHARE
    variance_m = (share * distance) ** 2 + _TRACKED_FLOOR_M**2 + scale.variance * distance**2
    variance_rad = (share * angle) ** 2 + _TRACKED_FLOOR_RAD**2
    covariance = np.diag([variance_m] * 3 + [variance_rad] * 3)
    if measured is not None:
        # (rotation, translation) of T_later_earlier; between neighbouring frames the axes hardly differ.
        order = [3, 4, 5, 0, 1, 2]
        covariance += measured[np.ix_(order, order)]
    return Motion(MotionState.TRACKED, T_previous_current, dt_ns, covariance)
