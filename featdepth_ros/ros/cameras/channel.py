"""One camera of the node: input, outputs, statistics and state."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from rclpy.node import Node

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.inference.types import Estimate
from featdepth_ros.ros.cameras.intake import Intake, Taken
from featdepth_ros.ros.diagnostics import FrameReport, Health
from featdepth_ros.ros.frames.tree import FrameTree
from featdepth_ros.ros.inputs import Arrival, ImageInput
from featdepth_ros.ros.parameters.settings import Settings
from featdepth_ros.ros.publishers import CameraOutputs
from featdepth_ros.ros.statistics import Statistics
from featdepth_ros.ros.watch.troubles import frame_trouble


class CameraChannel:
    """The part of the node that exists once per camera.

    `open` and `close` create and destroy the outputs, `listen` and `stop_listening` the input. These run on the
    executor's thread; `take` and `publish` run on the worker's thread.

    Args:
        node: owner of the publishers and subscriptions.
        name: name of the camera; empty for a single camera.
        settings: returns the current parameters of the camera.

    Attributes:
        name: name of the camera; empty for a single camera.
        statistics: counters and times of this camera.
        frame_id: optical frame of the newest image; empty before the first.
        newest_ns: stamp of the newest image, nanoseconds; 0 before the first.
        last_frame: diagnostics of the newest estimate; None before the first.
        mounting: diagnostics text about the transform to the odometry camera; empty if it is not needed.
        unmounted: warning about the mounting on the robot; empty if it is known or may still arrive.
    """

    def __init__(self, node: Node, name: str, settings: Callable[[], Settings]) -> None:
        self.name = name
        self.statistics = Statistics()
        self.frame_id = ""
        self.newest_ns = 0
        self.last_frame: FrameReport | None = None
        self.mounting = self.unmounted = ""
        self._node = node
        # Each camera has its own logger, so that throttling one camera's warnings does not hide another's.
        self.log = node.get_logger().get_child(name.replace("/", ".")) if name else node.get_logger()
        self._settings = settings
        self._input: ImageInput | None = None
        self._outputs: CameraOutputs | None = None
        self._intake: Intake | None = None
        self._silence = self._publishers = ""
        self._before: tuple[object, tuple[int, ...], str] | None = None

    @property
    def settings(self) -> Settings:
        """The current parameters of the camera."""
        return self._settings()

    @property
    def input(self) -> ImageInput | None:
        """The subscriptions; None while there are none."""
        return self._input

    # ---- the executor's thread ----

    def open(self, reset: Callable[[], None], tree: FrameTree) -> None:
        """Create the outputs.

        Args:
            reset: clears the camera's previous frame in the estimator.
            tree: transforms of the robot, for the mounting of the camera.
        """
        self._outputs = CameraOutputs(self._node, self.settings, tree, self.name)
        self._intake = Intake(self._node, self.name, self.log, self.statistics, reset)

    def close(self) -> None:
        """Destroy the outputs."""
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = self._intake = self.last_frame = None
        self.frame_id = self.mounting = self.unmounted = ""
        self._before = None

    def listen(self, on_image: Callable[[str, Arrival], None]) -> None:
        """Subscribe; ``on_image`` is called with the camera's name and every image."""
        if self._intake is None or self._input is not None:
            return
        self.statistics.watch_from_now()
        self._input = ImageInput(self._node, self.settings, lambda arrival: on_image(self.name, arrival), self.name)
        self._intake.attach(self._input)
        topics = self._input.topics
        self.log.info(f"listening on {topics.image} ({self._input.reliability.name.lower()}) and {topics.camera_info}")

    def stop_listening(self) -> None:
        """Unsubscribe."""
        if self._input is not None:
            self._input.destroy()
            self._input = None

    def check_graph(self) -> None:
        """Follow changes of the publishers, and update the likely cause when no images arrive."""
        if self._input is None:
            return
        self._input.follow_publishers()
        limit = self.settings.watchdog_s
        figures = self.statistics.snapshot()
        self._silence, self._publishers = "", self._input.rivals()
        if limit > 0 and figures.silent_s > limit:
            self._silence = f"no image for {figures.silent_s:.0f} s: {self._input.silence()}"
        elif limit > 0 and figures.busy_s > limit:
            self._silence = f"the current image has taken {figures.busy_s:.0f} s so far: is the device overloaded?"
        elif limit > 0 and figures.unused_s > limit and figures.left_out:
            self._silence = f"images arrive, but none was used for {figures.unused_s:.0f} s: {figures.left_out}"
        for words in filter(None, (self._silence, self._publishers)):
            self.log.warning(words, throttle_duration_sec=10.0)

    def health(self, common: Health) -> Health:
        """Return the diagnostics of this camera: ``common``, those of the node, with the camera's values."""
        topics: tuple[tuple[str, str], ...] = ()
        if self._input is not None:
            topics = (
                ("image_topic", self._input.topics.image),
                ("camera_info_topic", self._input.topics.camera_info),
                ("reliability", self._input.reliability.name.lower()),
                ("incompatible_publishers", str(self._input.incompatible)),
            )
        if self.mounting:
            topics += (("mounting", self.mounting),)
        return replace(
            common,
            figures=self.statistics.snapshot(),
            silence=self._silence if self._input is not None else "",
            frame=self.last_frame,
            topics=topics,
            frames=frame_trouble(self.frame_id, self.settings),
            min_valid_share=self.settings.min_valid_share,
            doubts=tuple(filter(None, (self.unmounted, self._publishers if self._input is not None else ""))),
            unstamped=self._intake is not None and self._intake.unstamped,
        )

    def forget_pair(self) -> None:
        """Forget the previous frame before the next image. Any thread may call this."""
        if self._intake is not None:
            self._intake.forget_pair()

    # ---- the worker's thread ----

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Count and log every exception raised inside; none is passed on."""
        try:
            yield
        except FeatDepthError as error:
            self.statistics.image_rejected(str(error))
            self.log.warning(f"image rejected: {error}", throttle_duration_sec=5.0)
        except Exception as error:  # noqa: BLE001 - whatever one image does, the next one gets its chance
            if not self._node.context.ok():
                return  # a signal shut ROS down during this image
            self.statistics.image_rejected(f"{type(error).__name__}: {error}")
            self.log.error(f"image failed: {traceback.format_exc()}", throttle_duration_sec=5.0)
            self.forget_pair()

    def take(self, arrival: Arrival) -> Taken | None:
        """Prepare an image for the estimator; see `Intake.take`."""
        assert self._intake is not None, "open comes first"
        taken = self._intake.take(arrival, self.settings)
        if taken is not None:
            self.frame_id, self.newest_ns = taken.frame_id, taken.shot.stamp_ns
        return taken

    def publish(self, taken: Taken, estimate: Estimate, publish_more: Callable[[], None], depth_source: str) -> None:
        """Publish the results of one image, call ``publish_more``, then count the image.

        Args:
            taken: the image.
            estimate: its estimate.
            publish_more: publishes what depends on this camera, such as odometry.
            depth_source: ``fused`` or ``network``, see `Estimator.depth_source`.
        """
        assert self._outputs is not None and self._intake is not None, "open comes first"
        self._intake.done(taken)
        started = time.perf_counter()
        self._outputs.publish_frame(estimate, taken.frame_id, taken.settings)
        publish_more()
        publish_ms = (time.perf_counter() - started) * 1e3
        self.last_frame = FrameReport.of(estimate, depth_source, taken.uncalibrated)
        trouble, words = self.last_frame.trouble(taken.settings.min_valid_share)
        changed = self._change(taken)
        if changed and not trouble:
            trouble, words = "changed", changed
        if trouble and trouble != "uncalibrated":  # the intake logs that one, with the reason
            self.log.warning(words, throttle_duration_sec=5.0)
        age_ms = (self._node.get_clock().now().nanoseconds - taken.shot.stamp_ns) / 1e6
        latency_ms = (time.monotonic_ns() - taken.arrived_ns) / 1e6
        stages = {"decode": taken.decode_ms, **estimate.stage_ms, "publish": publish_ms}
        self.statistics.image_processed(latency_ms, age_ms, stages, trouble, words)

    def _change(self, taken: Taken) -> str:
        """Return which properties changed since the previous image, which restarts motion; empty: none."""
        now = taken.shot.calibration, taken.shot.image.shape[:2], taken.frame_id
        before, self._before = self._before, now
        if before is None or now == before:
            return ""
        names = ("the calibration", "the size of the images", "the frame_id")
        changed = " and ".join(name for name, a, b in zip(names, before, now, strict=True) if a != b)
        return f"{changed} changed from one image to the next, so motion starts again. Do two cameras publish there?"
