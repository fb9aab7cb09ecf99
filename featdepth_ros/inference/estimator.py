"""Image in, depth and motion out: one camera, frame by frame. No ROS, no files, no threads."""

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

    Frames are paired by stamp: the motion is between the frames the estimator was given, however many were dropped
    between them. Depth of the network never depends on earlier frames; fused depth is corrected by what they measured.

    Args:
        model: from `load_model` or `load_networks`; put into eval mode, otherwise left alone. Or networks that other
            cameras use too.
        config: see `EstimatorConfig`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``; None is ``auto``. Networks that are given have theirs.
        motion: measures the motion; None: what the configuration names.

    Attributes:
        notes: what a user should know of how this estimator runs, such as a package that is missing.
        sensors: what else measures motion; whoever has readings sets them and adds readings before the frames.

    Raises:
        FeatDepthError: the model has no depth net.
        ConfigError: the device or precision is not to be had.
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
                f"'{self.info.name}' is a depth network of others and knows no motion; set motion to window or auto"
            )
        if self.config.scale in ("factor", "camera_height", "speed") and self._networks.gives_inverse_depth:
            raise ConfigError(
                f"'{self.info.name}' gives relative depth, whose unit is the window's own: scale '{self.config.scale}' "
                "cannot make it metric; set scale to auto, or take a network that gives metres"
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
        """Where motion comes from: ``window``, ``network``, ``given`` by another camera, or ``none``."""
        if not self.config.estimate_motion:
            return "none"
        if isinstance(self._motion, GivenMotion):
            return "given"
        if isinstance(self._motion, WindowMotion) and (self._views is None or self._views.network.camera is not None):
            return "window"
        return "network" if self._networks.has_pose else "none"

    @property
    def depth_source(self) -> str:
        """Which depth is given: ``fused`` or ``network``."""
        given = isinstance(self._motion, GivenMotion) and self._motion.has_points
        has_points = given or self.motion_source == "window"
        return "fused" if self.config.depth != "network" and has_points else "network"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels that the networks run at; with input_size None it follows the images."""
        return self._views.size if self._views else self.config.input_size or self.info.input_size

    @property
    def precision(self) -> str:
        """What the networks compute in: ``fp32``, ``bf16`` or ``fp16``."""
        return self._networks.precision

    @property
    def backend(self) -> str:
        """What computes the networks now: ``torch``, ``onnxruntime``, ``openvino`` or ``tensorrt``."""
        return self._networks.backend

    def build_backend(self, delivered_size: tuple[int, int], frames: int) -> None:
        """Settle the back end for images of (width, height) now; else PyTorch serves and it is built beside it.

        Args:
            delivered_size: of the images to come.
            frames: how many of them; ``backend: auto`` builds what is not in its cache only where that pays.

        Raises:
            FeatDepthError: the back end that was asked for by name cannot be built, or is not equal to PyTorch.
        """
        self._networks.build_backend(self._size_for(*delivered_size), frames)
        if self._networks.note:
            self.notes = (*self.notes, self._networks.note)

    def reset(self) -> None:
        """Forget the earlier frame: the next one is a first frame. The scale stays."""
        self._motion.reset()
        self._sight.reset()
        self._last_stamp_ns = None
        self._fusion.reset()
        self._before = None

    def warm_up(self, delivered_size: tuple[int, int], camera: CameraModel | None = None) -> None:
        """Run twice on chequered images of (width, height), so that the first real frame is as fast as the others."""
        rows, columns = np.indices((delivered_size[1], delivered_size[0])) // 12
        grey = np.repeat(np.where((rows + columns) % 2, 127, 90).astype(np.uint8)[..., None], 3, axis=2)
        for stamp_ns in (1, 2):
            self.step(grey, camera, stamp_ns)
            grey = np.roll(grey, 8, axis=1)
        self.reset()
        self._scale.reset()
        self._seen.clear()

    def swap_model(self, model: FeatDepthModel) -> None:
        """Take other weights of the same architecture from the next frame on, in the scale in force.

        Pose, window, points and common scale go on. Takes seconds, or a minute where a back end must be built; see
        `Rig.prepare_swap` for frames that flow meanwhile.

        Raises:
            FeatDepthError: the weights cannot take this place.
        """
        others = self._networks.successor(model)
        log_ratio = self.log_ratio(others)
        self._networks.become(others)
        self.follow_networks(log_ratio)

    def log_ratio(self, networks: Networks) -> float | None:
        """Logarithm of the last pictures' depth over that by other networks; None: too few pictures. Any thread."""
        return self._seen.log_ratio(networks.depth)

    def follow_networks(self, log_ratio: float | None) -> None:
        """The networks have become others: bind their depth to the scale in force; `log_ratio` as above."""
        self.info = self._networks.info
        self._scale.take_weights(self.info, log_ratio, None if self._views is None else self._views.network.camera)
        self._fusion.forget_shape()
        self._seen.clear()

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
        rectified, stages = self.begin(image, camera, stamp_ns)
        (frame,) = self._networks.encode_ahead([rectified])
        return self.complete(frame, stages)

    @torch.inference_mode()
    def begin(
        self, image: NDArray[np.uint8], camera: CameraModel | None, stamp_ns: int
    ) -> tuple[RectifiedFrame, StageTimes]:
        """Do the part of `step` that comes before the networks, which several cameras may run together.

        Returns:
            The frame for `Networks.encode`, and the times that `complete` goes on with.
        """
        stages = StageTimes()
        with stages.timed("rectify"):
            return self._rectify(image, camera, stamp_ns), stages

    @torch.inference_mode()
    def complete(self, frame: EncodedFrame, stages: StageTimes) -> Estimate:
        """Do the part of `step` that comes after the networks, or beside them until their depth is asked for.

        Frames in the order of `begin`.
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
            (H, W) of the same type.
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
            # Another camera or size: pixels of the earlier frame mean something else.
            self._views = frame.views
            self._seen.clear()
            self.reset()
        return frame

    def _move(self, frame: EncodedFrame, sight: Sight) -> tuple[ScaleState, MeasuredMotion]:
        """Measure scale and motion of a picture that shows something; only such ones are ever compared."""
        stamp_ns, last = frame.rectified.stamp_ns, self._last_stamp_ns
        self._last_stamp_ns = stamp_ns
        if sight.state is not None:
            state = MotionState.UNAVAILABLE if self.motion_source == "none" else sight.state
            motion = unmeasured(state, max(stamp_ns - last, 0) if last is not None else 0)
            return self._scale.state(frame.rectified.camera), MeasuredMotion(replace(motion, reason=sight.reason))
        scale = self._scale.update(lambda: frame.network_depth, frame.rectified.camera)
        measured = self._motion.update(frame, scale)
        reason = absurdity(measured.motion, scale, self.config)
        if not reason or self.motion_source == "given":  # what is given was judged where it was measured
            return scale, measured
        # What led there is not to be trusted either: everything starts anew from this frame.
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
        """Bring everything to the size that is asked for; ``valid`` is (1, 1, h, w) bool at the networks' size."""
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
        seen |= ~in_image.numpy()  # outside the picture there is no value by `in_image`
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
    """Wall times of the stages of one step. The networks run beside others, so the sum may be more than the whole.

    Attributes:
        ms: milliseconds of each stage that is over, in order.
    """

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure what runs inside; of what it queues on a GPU, only what it waits for."""
        start = time.perf_counter()
        yield
        self.ms[stage] = (time.perf_counter() - start) * 1e3
