"""Prepares arrived images for the estimator: stamp, calibration, pixels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node

from featdepth_ros.errors import ImageError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.rig.shot import Shot
from featdepth_ros.messages.images import refuse_distances, rgb_from_message
from featdepth_ros.messages.stamps import stamp_ns
from featdepth_ros.ros.calibration import Calibration
from featdepth_ros.ros.cameras.pace import Pace
from featdepth_ros.ros.diagnostics import UNCALIBRATED
from featdepth_ros.ros.inputs import Arrival, ImageInput
from featdepth_ros.ros.parameters.settings import Settings
from featdepth_ros.ros.statistics import Statistics

_UNNAMED_FRAME = "camera_optical_frame"


@dataclass(frozen=True, eq=False)
class Taken:
    """An image that is ready for the estimator.

    Attributes:
        shot: input of the estimator: pixels, stamp and calibration.
        frame_id: optical frame of the camera.
        arrived_ns: time of arrival (``time.monotonic_ns``).
        decode_ms: duration of the decoding, milliseconds.
        settings: the parameters at that moment.
        uncalibrated: why there is no calibration, and what to do; empty: there is one.
    """

    shot: Shot
    frame_id: str
    arrived_ns: int
    decode_ms: float
    settings: Settings
    uncalibrated: str = ""


class Intake:
    """Prepares the images of one camera, one after the other, on the worker's thread.

    Args:
        node: provides the clock.
        camera: name of the camera; empty for a single camera.
        log: logger of the camera.
        statistics: counts the images that are left out.
        reset: clears the camera's previous frame in the estimator.

    Attributes:
        unstamped: whether the newest image had no stamp, so that the node's clock was used.
    """

    def __init__(
        self, node: Node, camera: str, log: RcutilsLogger, statistics: Statistics, reset: Callable[[], None]
    ) -> None:
        self._node = node
        self._name = camera
        self._log = log
        self._statistics = statistics
        self._reset = reset
        self._calibration = Calibration()
        self._pace = Pace()
        self._source: ImageInput | None = None
        self._first_arrival_ns = 0
        self._last_stamp: int | None = None
        self._forget = False
        self.unstamped = False

    def attach(self, source: ImageInput) -> None:
        """Use camera_info of this input from now on. The previous frame is forgotten."""
        self._source = source
        self._first_arrival_ns = 0
        self.forget_pair()

    def forget_pair(self) -> None:
        """Forget the previous frame before the next image. Any thread may call this."""
        self._forget = True

    def take(self, arrival: Arrival, settings: Settings) -> Taken | None:
        """Prepare an image. Returns None for one that is left out on purpose.

        Raises:
            FeatDepthError: the message is malformed.
        """
        header = arrival.msg.header
        stamp = stamp_ns(header.stamp)
        self.unstamped = stamp == 0
        if self.unstamped:
            self._log.warning("images have no stamp; the node's clock is used", once=True)
            stamp = self._node.get_clock().now().nanoseconds
        if not self._prepare(stamp):
            return None
        if not self._pace.is_due(stamp, settings.max_rate_hz):
            self._statistics.image_skipped()
            return None
        started = time.perf_counter()
        if self._source is not None:
            refuse_distances(arrival.msg, self._source.topics.image)
        if isinstance(arrival.picture, ImageError):
            raise arrival.picture
        image = rgb_from_message(arrival.msg) if arrival.picture is None else arrival.picture
        decode_ms = (time.perf_counter() - started) * 1e3
        camera, missing = self._camera(arrival, stamp, (image.shape[1], image.shape[0]), settings)
        if camera is None and not missing:
            self._statistics.image_skipped("they wait for camera_info, for camera_info_timeout_s at most")
            return None
        # Drivers ported from ROS 1 write a leading slash, which tf2 rejects.
        frame_id = (settings.camera_frame or header.frame_id).lstrip("/") or _UNNAMED_FRAME
        shot = Shot(self._name, image, camera, stamp)
        return Taken(shot, frame_id, arrival.arrived_ns, decode_ms, settings, missing)

    def done(self, taken: Taken) -> None:
        """Record that an image became an estimate; only images with a later stamp are taken after it."""
        self._last_stamp = taken.shot.stamp_ns

    def _prepare(self, stamp: int) -> bool:
        """Handle resets and steps in time. Returns False for an image with the same stamp as the previous one."""
        if self._last_stamp is not None and stamp < self._last_stamp:
            self._statistics.time_jumped()
            text = f"stamps went back by {(self._last_stamp - stamp) / 1e9:.3f} s; motion starts again here"
            self._log.warning(text, throttle_duration_sec=5.0)
            self._forget = True
        elif stamp == self._last_stamp and not self._forget:
            self._statistics.image_skipped(f"each has the stamp of the one before ({stamp / 1e9:.3f} s)")
            return False
        if self._forget:
            self._forget = False
            self._reset()
        return True

    def _camera(
        self, arrival: Arrival, stamp: int, size: tuple[int, int], settings: Settings
    ) -> tuple[CameraModel | None, str]:
        """Return the camera, or None and the reason. An empty reason means that camera_info may still arrive."""
        if self._source is None:
            return None, "the input was closed"
        topic = self._source.topics.camera_info
        self._first_arrival_ns = self._first_arrival_ns or arrival.arrived_ns
        info = self._source.camera_info(stamp)
        if info is None:
            if arrival.arrived_ns - self._first_arrival_ns < settings.camera_info_timeout_s * 1e9:
                return None, ""
            return None, self._uncalibrated(f"no message on {topic}", "make the driver publish it with the images")
        rectified = settings.rectified_input == "yes" or (
            settings.rectified_input == "auto" and self._source.topics.rectified
        )
        camera, reason = self._calibration.camera(info, rectified, size)
        if camera is not None:
            return camera, ""
        if reason:
            what, do = f"{topic} is not usable, {reason}", "mend what the driver publishes, or calibrate anew"
        else:
            what, do = f"{topic} says so, K[0] is 0", "calibrate the camera"
        return None, self._uncalibrated(what, f"{do} (camera_calibration)")

    def _uncalibrated(self, what: str, do: str) -> str:
        """Log that there is no calibration, with the reason and what to do, and return this text."""
        words = f"{UNCALIBRATED} ({what}); {do}"
        self._log.warning(words, throttle_duration_sec=30.0)
        return words
