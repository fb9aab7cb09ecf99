"""What happens to one image, on the worker's thread: message -> image -> estimate -> messages."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

from rclpy.node import Node

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.types import Estimate, MotionState
from featdepth_ros.messages.images import rgb_from_message
from featdepth_ros.messages.stamps import stamp_ns
from featdepth_ros.ros.calibration import Calibration
from featdepth_ros.ros.diagnostics import LOST, FrameReport
from featdepth_ros.ros.frames.base import BaseFrame
from featdepth_ros.ros.frames.tree import FrameTree
from featdepth_ros.ros.inputs import Arrival, ImageInput
from featdepth_ros.ros.loading import LoadedModel
from featdepth_ros.ros.parameters.settings import Settings
from featdepth_ros.ros.publishers import Outputs
from featdepth_ros.ros.statistics import Statistics

_UNNAMED_FRAME = "camera_optical_frame"


class _Wait:
    """Mark of an image that came before its camera_info."""


class Pipeline:
    """Processes images one after the other. `process` never raises."""

    def __init__(
        self,
        node: Node,
        loaded: LoadedModel,
        outputs: Outputs,
        tree: FrameTree,
        statistics: Statistics,
        settings: Callable[[], Settings],
    ) -> None:
        self._node = node
        self._log = node.get_logger()
        self._loaded = loaded
        self._outputs = outputs
        self._statistics = statistics
        self._settings = settings
        self._calibration = Calibration()
        self.base = BaseFrame(loaded, tree, lambda text: self._log.info(text))
        self._input: ImageInput | None = None
        self._first_arrival_ns = 0
        self._last_stamp: int | None = None
        self._forget = False
        self._restart = False
        self.last_frame: FrameReport | None = None  # read by diagnostics

    def attach(self, image_input: ImageInput) -> None:
        """Take camera_info from this input from now on; the earlier frame, if any, is forgotten."""
        self._input = image_input
        self._first_arrival_ns = 0
        self.forget_pair()

    def forget_pair(self) -> None:
        """Before the next image, forget the earlier frame; the pose stays. Any thread."""
        self._forget = True

    def restart_odometry(self) -> None:
        """Before the next image, forget the earlier frame and set the pose to the identity. Any thread."""
        self._restart = True

    def process(self, arrival: Arrival) -> None:
        """Take one image through; count whatever comes of it."""
        self._statistics.work_started()
        try:
            self._take(arrival)
        except FeatDepthError as error:
            self._statistics.image_rejected(str(error))
            self._log.warning(f"image rejected: {error}", throttle_duration_sec=5.0)
        except Exception as error:  # noqa: BLE001 - whatever one image does, the next one gets its chance
            if not self._node.context.ok():
                return  # a signal ended ROS under this image
            self._statistics.image_rejected(f"{type(error).__name__}: {error}")
            self._log.error(f"image failed: {traceback.format_exc()}", throttle_duration_sec=5.0)
            self._forget = True
        finally:
            self._statistics.work_ended()

    def _take(self, arrival: Arrival) -> None:
        settings = self._settings()
        header = arrival.msg.header
        stamp = stamp_ns(header.stamp)
        if stamp == 0:
            self._log.warning("images have no stamp; the node's clock is used", once=True)
            stamp = self._node.get_clock().now().nanoseconds
        if not self._prepare(stamp):
            return
        started = time.perf_counter()
        image = rgb_from_message(arrival.msg)
        decode_ms = (time.perf_counter() - started) * 1e3
        camera = self._camera(arrival, stamp, (image.shape[1], image.shape[0]), settings)
        if isinstance(camera, _Wait):
            self._statistics.image_skipped()
            return
        # A leading slash is ROS 1's; tf2 refuses it.
        frame_id = (settings.camera_frame or header.frame_id).lstrip("/") or _UNNAMED_FRAME
        estimate = self._loaded.estimator.step(image, camera, stamp)
        self._last_stamp = stamp
        started = time.perf_counter()
        self._outputs.publish_frame(estimate, frame_id, settings)
        self._move(estimate, frame_id, settings)
        publish_ms = (time.perf_counter() - started) * 1e3
        self.last_frame = FrameReport.of(estimate, self._loaded.estimator.depth_source)
        if estimate.motion.state is MotionState.LOST:
            self._log.warning(LOST, throttle_duration_sec=5.0)
        age_ms = (self._node.get_clock().now().nanoseconds - stamp) / 1e6
        latency_ms = (time.monotonic_ns() - arrival.arrived_ns) / 1e6
        self._statistics.image_processed(
            latency_ms, age_ms, {"decode": decode_ms, **estimate.stage_ms, "publish": publish_ms}
        )

    def _prepare(self, stamp: int) -> bool:
        """Handle resets and steps in time. Returns False for an image that was seen already."""
        if self._restart:
            self._restart, self._forget = False, True
            self.base.reset()
        if self._last_stamp is not None and stamp < self._last_stamp:
            self._statistics.time_jumped()
            self._log.info(f"stamps went back by {(self._last_stamp - stamp) / 1e9:.3f} s; motion starts again here")
            self._forget = True
        elif stamp == self._last_stamp and not self._forget:
            self._statistics.image_skipped()
            return False
        if self._forget:
            self._forget = False
            self._loaded.estimator.reset()
        return True

    def _camera(
        self, arrival: Arrival, stamp: int, size: tuple[int, int], settings: Settings
    ) -> CameraModel | _Wait | None:
        """Return the camera, None without calibration, or `_Wait` while camera_info may still come."""
        if self._input is None:
            return None
        self._first_arrival_ns = self._first_arrival_ns or arrival.arrived_ns
        info = self._input.camera_info(stamp)
        if info is None:
            if arrival.arrived_ns - self._first_arrival_ns < settings.camera_info_timeout_s * 1e9:
                return _Wait()
            self._log.warning(
                f"nothing on {self._input.topics.camera_info}: uncalibrated, so a depth image only, no cloud, no "
                "odometry, no TF",
                throttle_duration_sec=30.0,
            )
            return None
        rectified = settings.rectified_input == "yes" or (
            settings.rectified_input == "auto" and self._input.topics.rectified
        )
        camera, reason = self._calibration.camera(info, rectified, size)
        if camera is None:
            what = f"is not usable ({reason})" if reason else "says uncalibrated (K[0] is 0)"
            self._log.warning(
                f"{self._input.topics.camera_info} {what}: a depth image only, no cloud, no odometry, no TF. Calibrate "
                "the camera (camera_calibration).",
                throttle_duration_sec=30.0,
            )
        return camera

    def _move(self, estimate: Estimate, frame_id: str, settings: Settings) -> None:
        if estimate.camera is None or estimate.motion.state is MotionState.UNAVAILABLE:
            return
        state = self.base.update(estimate, frame_id, settings)
        relative = estimate.scale.kind == "relative"
        if state is None or self.base.extrinsics is None or (relative and not settings.publish_relative_odometry):
            return
        self._outputs.publish_motion(state, self.base.extrinsics.base, settings)
