"""Processes images on the worker's thread: messages -> one batch -> estimates -> messages."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from rclpy.node import Node

from featdepth_ros.inference.types import Estimate, MotionState
from featdepth_ros.ros.cameras.channel import CameraChannel
from featdepth_ros.ros.cameras.intake import Taken
from featdepth_ros.ros.frames.base import BaseFrame
from featdepth_ros.ros.frames.mounting import AxesDoubt, mounting
from featdepth_ros.ros.frames.tree import FrameTree
from featdepth_ros.ros.inputs import Arrival
from featdepth_ros.ros.loading import LoadedModel
from featdepth_ros.ros.publishers import MotionOutputs
from featdepth_ros.ros.running.exchange import WeightsExchange
from featdepth_ros.ros.watch.troubles import frame_trouble

#: Consequence and remedy of a missing mounting, for diagnostics.
_UNMOUNTED = (
    "without it this camera has only the network's depth. Publish both cameras' mountings "
    "(static_transform_publisher), or name this camera in window_cameras"
)
#: Warning about images whose frame has the body's axes.
_BODY_AXES = (
    "by /tf_static the camera ('{camera}') looks up in '{base}' and moves where it looks, so the robot seems to rise: "
    "the images' frame has the body's axes. Make the driver use an optical frame (z forward), or set camera_frame"
)


class Pipeline:
    """Processes the newest images of all cameras together, one batch after the other. `process` never raises.

    Args:
        node: node whose logger is used.
        loaded: the loaded model.
        channels: the cameras, by name.
        outputs: publishers of odometry and TF.
        tree: transforms of the robot, for the mountings of the cameras.
        exchange: swaps weights between two batches.
    """

    def __init__(
        self,
        node: Node,
        loaded: LoadedModel,
        channels: Mapping[str, CameraChannel],
        outputs: MotionOutputs,
        tree: FrameTree,
        exchange: WeightsExchange,
    ) -> None:
        log = node.get_logger()
        self._rig = loaded.rig
        self._channels = channels
        self._outputs = outputs
        self._tree = tree
        self._exchange = exchange
        self._restart = False
        self._opened = time.monotonic()
        self._axes = AxesDoubt()
        self.base = BaseFrame(loaded, tree, lambda text: log.info(text))

    def restart_odometry(self) -> None:
        """Before the next image, forget the previous frame and reset the pose. Any thread may call this."""
        self._restart = True

    def process(self, arrivals: Mapping[str, Arrival]) -> None:
        """Process at most one image of each camera, by name, and count the outcome of each."""
        channels = [self._channels[name] for name in arrivals]
        for channel in channels:
            channel.statistics.work_started()
        try:
            self._exchange.between_frames()
            self._answer({taken.shot.camera: taken for taken in self._take(arrivals)})
        finally:
            for channel in channels:
                channel.statistics.work_ended()

    def _take(self, arrivals: Mapping[str, Arrival]) -> Iterable[Taken]:
        if self._restart and self._rig.odometry_camera in arrivals:
            self._restart = False
            self.base.reset()
            self._channels[self._rig.odometry_camera].forget_pair()
        for name, arrival in arrivals.items():
            channel, taken = self._channels[name], None
            with channel.guarded():
                taken = channel.take(arrival)
            if taken is not None:
                yield taken

    def _answer(self, taken: Mapping[str, Taken]) -> None:
        waiting = dict(taken)
        try:
            self._mount(taken)
            for shot, answer in self._rig.steps([one.shot for one in taken.values()]):
                self._publish(waiting.pop(shot.camera), answer)
        except Exception as error:  # noqa: BLE001 - the batch as a whole failed, and with it each of its images
            for one in waiting.values():
                self._publish(one, error)

    def _publish(self, taken: Taken, answer: Estimate | Exception) -> None:
        channel = self._channels[taken.shot.camera]
        with channel.guarded():
            if isinstance(answer, Exception):
                raise answer
            source = self._rig.depth_source(channel.name)
            channel.publish(taken, answer, lambda: self._move(taken, answer), source)

    def _move(self, taken: Taken, estimate: Estimate) -> None:
        if taken.shot.camera != self._rig.odometry_camera:
            return
        settings = taken.settings
        if estimate.camera is None or estimate.motion.state is MotionState.UNAVAILABLE:
            return
        if frame_trouble(taken.frame_id, settings):
            return
        state = self.base.update(estimate, taken.frame_id, settings)
        relative = estimate.scale.kind == "relative"
        if state is None or self.base.extrinsics is None or (relative and not settings.publish_relative_odometry):
            return
        extrinsics = self.base.extrinsics
        doubted = self._axes.take(extrinsics.T_base_camera, estimate.motion.T_previous_current)
        words = _BODY_AXES.format(camera=taken.frame_id, base=extrinsics.base) if doubted else ""
        self._channels[taken.shot.camera].unmounted = words
        self._outputs.publish(state, extrinsics.base, settings, self.base.starts)

    def _mount(self, taken: Mapping[str, Taken]) -> None:
        """Pass the rig the mountings of the cameras that use the odometry camera's motion."""
        reference = self._channels[self._rig.odometry_camera]
        for name, one in taken.items():
            if name not in self._rig.mounted_cameras or not reference.frame_id:
                continue
            channel, frames = self._channels[name], (one.settings.odom_frame, one.settings.base_frame)
            mounted = mounting(self._tree, reference.frame_id, one.frame_id, frames, one.shot.stamp_ns)
            self._rig.mount(name, mounted.T_reference_camera, moves=mounted.moves)
            channel.mounting = mounted.missing or f"known from {reference.frame_id}"
            late = time.monotonic() - self._opened > one.settings.extrinsics_timeout_s
            channel.unmounted = f"{channel.mounting}: {_UNMOUNTED}" if mounted.missing and late else ""
            if channel.unmounted:
                channel.log.warning(channel.unmounted, throttle_duration_sec=30.0)
