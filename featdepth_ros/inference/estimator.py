"""The estimator of one camera: images in, depth and motion out, frame by frame. It uses no ROS and no files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.errors import ConfigError, FeatDepthError
from featdepth_ros.geometry import warp
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.backends.comparison import SeenPictures
from featdepth_ros.inference.backends.files import NetworkFile
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.foreign.watch import ConventionWatch
from featdepth_ros.inference.frame import EncodedFrame, RectifiedFrame, RectifiedViews, Rectifier, to_bytes
from featdepth_ros.inference.fused_depth import DepthFusion, PublishedDepth
from featdepth_ros.inference.gates.plausible import absurdity
from featdepth_ros.inference.gates.sight import Sight, SightGate
from featdepth_ros.inference.motion import MeasuredMotion, MotionEstimator, unmeasured
from featdepth_ros.inference.networks import Networks, networks_of
from featdepth_ros.inference.rig.given_motion import GivenMotion
from featdepth_ros.inference.scale import ScaleEstimator
from featdepth_ros.inference.sensing.sensors import MotionSensors
from featdepth_ros.inference.types import Estimate, MotionState, ScaleState
from featdepth_ros.inference.validity import valid_mask
from featdepth_ros.inference.window_motion import WindowMotion, fallback_note, make_motion_estimator
from featdepth_ros.models.base import FeatDepthModel


class Estimator:
    """Estimates depth and motion of one moving camera.

    The motion is between consecutive frames that the estimator receives, even if frames between them were dropped.
    The network's depth never depends on earlier frames; fused depth is corrected by points of earlier frames.

    Args:
        model: result of `load_model` or `load_networks`, which is set to eval mode; or networks that several cameras
            share.
        config: see `EstimatorConfig`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``; None is ``auto``. Shared networks already have a device.
        motion: measures the motion; None: chosen by the configuration.

    Attributes:
        notes: notes to the user about this estimator, such as a missing package.
        sensors: other sensors of motion. Their owner sets them and adds readings before the frames.

    Raises:
        FeatDepthError: the model has no depth network.
        ConfigError: the device or the precision is not available.
    """

    def __init__(
        self,
        model: FeatDepthModel | NetworkFile | Networks,
        config: EstimatorConfig | None = None,
        *,
        device: str | None = None,
        motion: MotionEstimator | None = None,
    ) -> None:
        if not isinstance(model, (FeatDepthModel, Networks)) and not hasattr(model, "size_for"):
            raise FeatDepthError(f"model is a {type(model).__name__}; expected what load_model returns")
        self.config = config or EstimatorConfig()
        self.info = model.info
        if isinstance(model, Networks):
            self._networks = model
        else:
            self._networks = networks_of(model, self.config, device)
        self.device = self._networks.device
        if self.config.motion == "network" and self.config.estimate_motion and self._networks.is_foreign:
            raise ConfigError(
                f"'{self.info.name}' is a third-party network without a pose network; set motion to window or auto"
            )
        if self.config.scale in ("factor", "camera_height", "speed") and self._networks.gives_inverse_depth:
            raise ConfigError(
                f"'{self.info.name}' gives relative depth, whose unit the window defines: scale '{self.config.scale}' "
                "cannot make it metric; set scale to auto, or use a network that gives metres"
            )
        self._rectifier = Rectifier(self._size_for, self.device)
        self._scale = ScaleEstimator(self.info, self.config)
        self.sensors = MotionSensors()
        self._motion = motion or make_motion_estimator(self._networks, self._scale, self.config, self.sensors)
        note = fallback_note(self.config)
        self.notes: tuple[str, ...] = (note,) if note else ()
        self._fusion = DepthFusion(self.config.depth != "network", self._networks.gives_inverse_depth)
        self._watch = ConventionWatch() if self._networks.is_foreign else None
        self._depth_range = (self.config.min_depth, self.config.max_depth)
        self._sight = SightGate(self.config.noise_free_camera, round(self.config.max_gap_s * 1e9))
        self._last_stamp_ns: int | None = None
        self._views: RectifiedViews | None = None
        self._before: PublishedDepth | None = None
        self._seen = SeenPictures()

    @property
    def motion_source(self) -> str:
        """Source of the motion: ``window``, ``network``, ``given`` (by another camera) or ``none``."""
        if not self.config.estimate_motion:
            return "none"
        if isinstance(self._motion, GivenMotion):
            return "given"
        if isinstance(self._motion, WindowMotion) and (self._views is None or self._views.network.camera is not None):
            return "window"
        return "network" if self._networks.has_pose else "none"

    @property
    def depth_source(self) -> str:
        """Source of the depth: ``fused`` or ``network``."""
        given = isinstance(self._motion, GivenMotion) and self._motion.has_points
        has_points = given or self.motion_source == "window"
        return "fused" if self.config.depth != "network" and has_points else "network"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels of the networks' input; with input_size None it follows the images."""
        return self._views.size if self._views else self.config.input_size or self.info.input_size

    @property
    def precision(self) -> str:
        """Precision of the networks: ``fp32``, ``bf16`` or ``fp16``."""
        return self._networks.precision

    @property
    def backend(self) -> str:
        """Current back end of the networks: ``torch``, ``onnxruntime``, ``openvino`` or ``tensorrt``."""
        return self._networks.backend

    def build_backend(self, delivered_size: tuple[int, int], frames: int) -> None:
        """Choose and build the back end now. Without this call, it is built in the background while PyTorch runs.

        Args:
            delivered_size: (width, height) of the coming images in pixels.
            frames: number of these images; ``backend: auto`` builds uncached files only if there are enough.

        Raises:
            FeatDepthError: the requested back end cannot be built, or its results differ from PyTorch's.
        """
        self._networks.build_backend(self._size_for(*delivered_size), frames)
        if self._networks.note:
            self.notes = (*self.notes, self._networks.note)

    def reset(self) -> None:
        """Forget the previous frame: the next one is a first frame. The scale stays."""
        self._motion.reset()
        self._sight.reset()
        self._last_stamp_ns = None
        self._fusion.reset()
        self._before = None

    def warm_up(self, delivered_size: tuple[int, int], camera: CameraModel | None = None) -> None:
        """Run twice on test images of (width, height), so that the first real frame is as fast as the others."""
        rows, columns = np.indices((delivered_size[1], delivered_size[0])) // 12
        grey = np.repeat(np.where((rows + columns) % 2, 127, 90).astype(np.uint8)[..., None], 3, axis=2)
        for stamp_ns in (1, 2):
            self.step(grey, camera, stamp_ns)
            grey = np.roll(grey, 8, axis=1)
        self.reset()
        self._scale.reset()
        self._seen.clear()

    def swap_model(self, model: FeatDepthModel) -> None:
        """Use other weights of the same architecture from the next frame on, in the current scale.

        Pose, window, points and common scale continue. It takes seconds, or a minute if a back end must be built. Use
        `Rig.prepare_swap` to process frames meanwhile.

        Raises:
            FeatDepthError: the weights cannot replace the current ones.
        """
        others = self._networks.successor(model)
        log_ratio = self.log_ratio(others)
        self._networks.become(others)
        self.follow_networks(log_ratio)

    def log_ratio(self, networks: Networks) -> float | None:
        """Return the log ratio of this depth to that of other networks on recent images; None: too few images.

        Any thread may call this. See `SeenPictures.log_ratio`.
        """
        return self._seen.log_ratio(networks.depth)

    def follow_networks(self, log_ratio: float | None) -> None:
        """Adapt to exchanged networks: convert their depth to the current scale by `log_ratio`."""
        self.info = self._networks.info
        self._scale.take_weights(self.info, log_ratio, None if self._views is None else self._views.network.camera)
        self._fusion.forget_shape()
        self._seen.clear()

    def step(self, image: NDArray[np.uint8], camera: CameraModel | None, stamp_ns: int) -> Estimate:
        """Process one frame.

        Args:
            image: (H, W, 3) uint8 RGB as delivered (not rectified).
            camera: calibration of the image; None: uncalibrated, with the field of view of the training camera.
            stamp_ns: time of exposure, nanoseconds. A stamp not after the last one starts a new pair.

        Returns:
            The estimate; see `Estimate`.

        Raises:
            ImageError: not an (H, W, 3) uint8 array.
            CalibrationError: the calibration is for images of another size.
        """
        rectified, stages = self.begin(image, camera, stamp_ns)
        (frame,) = self._networks.encode_ahead([rectified])
        return self.complete(frame, stages)

    @torch.inference_mode()
    def begin(
        self, image: NDArray[np.uint8], camera: CameraModel | None, stamp_ns: int
    ) -> tuple[RectifiedFrame, StageTimes]:
        """Do the part of `step` before the networks, which can then process several cameras together.

        Returns:
            The frame for `Networks.encode`, and the times, which `complete` continues.
        """
        stages = StageTimes()
        with stages.timed("rectify"):
            return self._rectify(image, camera, stamp_ns), stages

    @torch.inference_mode()
    def complete(self, frame: EncodedFrame, stages: StageTimes) -> Estimate:
        """Do the part of `step` after the networks. It may run beside them until it needs their depth.

        The frames must be in the order of `begin`.
        """
        with stages.timed("sight"):
            sight = self._sight.look(frame.rectified)
        with stages.timed("motion"):
            scale, measured = self._move(frame, sight)
        stages.ms["depth"] = frame.networks_ms
        if not self._networks.gives_inverse_depth:
            self._scale.observe_points(frame, measured.window)
        if self._watch is not None and not self._watch.message:
            self._watch.look(frame.host_depth, measured.window)
            self.notes = (*self.notes, *filter(None, [self._watch.message]))
        with stages.timed("fusion"):
            depth = self._fusion.update(frame, scale, measured)
        with stages.timed("validity"):
            valid = valid_mask(depth, measured, self._before, self._depth_range)
        if sight.state is None and measured.motion.state is not MotionState.STANDING:
            self._before = depth
            self._seen.add(frame.rectified.image, frame.network_depth, scale.factor, self._depth_range)
        with stages.timed("output"):
            return self._estimate(depth, valid, sight, measured, scale, stages)

    def to_delivered(self, values: NDArray[Any]) -> NDArray[Any]:
        """Resample a map of the last estimate onto the raw pixels of the delivered image.

        Args:
            values: (h, w) at network size: depth (float32, interpolated in inverse depth, finite everywhere) or a
                mask (bool; False outside the rectified view).

        Returns:
            (H, W) of the same dtype.
        """
        assert self._views is not None, "step has not been called"
        rectification = self._views.network
        if values.dtype == np.bool_:
            mask = rectification.to_delivered(torch.from_numpy(values), "nearest")
            return np.asarray((mask.to(self.device) & rectification.delivered_in_view).cpu().numpy())
        return np.asarray(rectification.to_delivered(torch.from_numpy(values)).cpu().numpy())

    # -- parts of a step ------------------------------------------------------------------------------------------

    def _size_for(self, width: int, height: int) -> tuple[int, int]:
        return self._networks.size_for(width, height, self.config.input_size)

    def _rectify(self, image: NDArray[np.uint8], camera: CameraModel | None, stamp_ns: int) -> RectifiedFrame:
        frame = self._rectifier.rectify(image, camera, stamp_ns)
        if frame.views is not self._views:
            # With another camera or size, the pixels of the previous frame are not comparable.
            self._views = frame.views
            self._seen.clear()
            self.reset()
        return frame

    def _move(self, frame: EncodedFrame, sight: Sight) -> tuple[ScaleState, MeasuredMotion]:
        """Measure scale and motion of an image that is not blind or frozen; only such images are compared."""
        stamp_ns, last = frame.rectified.stamp_ns, self._last_stamp_ns
        self._last_stamp_ns = stamp_ns
        if sight.state is not None:
            state = MotionState.UNAVAILABLE if self.motion_source == "none" else sight.state
            motion = unmeasured(state, max(stamp_ns - last, 0) if last is not None else 0)
            return self._scale.state(frame.rectified.camera), MeasuredMotion(replace(motion, reason=sight.reason))
        scale = self._scale.update(lambda: frame.network_depth, frame.rectified.camera)
        measured = self._motion.update(frame, scale)
        reason = absurdity(measured.motion, scale, self.config)
        if not reason or self.motion_source == "given":  # a given motion was checked by the camera that measured it
            return scale, measured
        # The state that led to this motion is not reliable either, so everything restarts from this frame.
        self._motion.reset()
        window = self._motion.update(frame, scale).window
        motion = replace(unmeasured(MotionState.LOST, measured.motion.dt_ns), reason=reason, refused=True)
        return scale, MeasuredMotion(motion, window=window)

    def _estimate(
        self,
        depth: PublishedDepth,
        valid: Tensor,
        sight: Sight,
        measured: MeasuredMotion,
        scale: ScaleState,
        stages: StageTimes,
    ) -> Estimate:
        """Return the estimate at the configured size; ``valid`` is (1, 1, h, w) bool at the networks' size."""
        rectified = depth.frame.rectified
        if self.config.output_size == "input":
            image, camera, in_image = rectified.full_image, rectified.full_camera, rectified.full_in_image
            height, width = in_image.shape
            valid = warp.resize_nearest(valid.float(), height, width) > 0.5
        else:
            image, camera, in_image = to_bytes(rectified.host_image), rectified.camera, rectified.in_image
            height, width = rectified.size
        values, sigma = depth.resized(height, width)
        seen = cv2.resize(sight.seen.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
        seen |= ~in_image.numpy()  # pixels outside the image are already invalid by `in_image`
        return Estimate(
            stamp_ns=rectified.stamp_ns,
            image=image,
            camera=camera,
            depth=np.where(seen, values, np.float32(np.nan)),
            valid=valid[0, 0].cpu().numpy() & in_image.numpy() & seen,
            in_image=in_image.numpy(),
            min_depth=self.config.min_depth,
            max_depth=self.config.max_depth,
            sigma=sigma,
            motion=measured.motion,
            scale=scale,
            stage_ms=stages.ms,
            window=measured.window,
            guessed_depth=None if seen.all() else values,
            network_depth=None if depth.correction is None else depth.network,
        )


class StageTimes:
    """Wall times of the stages of one step. The networks run beside other stages, so the sum may exceed the total.

    Attributes:
        ms: milliseconds of each finished stage, in order.
    """

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure the code inside; of GPU work that it queues, only the time that it waits for."""
        start = time.perf_counter()
        yield
        self.ms[stage] = (time.perf_counter() - start) * 1e3
