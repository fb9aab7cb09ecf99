"""depth_node: lifecycle, services and parameters. `pipeline` processes the images."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.inference.options import Option
from featdepth_ros.memory import keep_freed_memory
from featdepth_ros.ros.cameras.channel import CameraChannel
from featdepth_ros.ros.compat import given_parameters
from featdepth_ros.ros.diagnostics import Health, diagnostic_message
from featdepth_ros.ros.frames.listener import TransformListener
from featdepth_ros.ros.frames.pose_message import given_pose
from featdepth_ros.ros.inputs import Arrival, ImageInput
from featdepth_ros.ros.loading import LoadedModel, ModelLoader, free_memory, load_networks
from featdepth_ros.ros.motion_sensors import MotionSensorTopics
from featdepth_ros.ros.parameters.definitions import SCHEMA
from featdepth_ros.ros.parameters.per_camera import camera_settings, declare_per_camera, per_camera_option
from featdepth_ros.ros.parameters.settings import (
    Settings,
    changed_live,
    declare_parameters,
    invalid_values,
    read_settings,
    rejection_reason,
    unknown_names,
    wrong_cameras,
)
from featdepth_ros.ros.pipeline import Pipeline
from featdepth_ros.ros.publishers import MotionOutputs
from featdepth_ros.ros.running.exchange import WeightsExchange
from featdepth_ros.ros.running.spin import StartError, run_node
from featdepth_ros.ros.statistics import Snapshot
from featdepth_ros.ros.watch.troubles import clock_trouble
from featdepth_ros.ros.worker import NewestItemsWorker
from featdepth_ros.threads import wait_asleep

#: Seconds that deactivate waits for the current image. The first frame on a slow machine takes a few.
_STOP_TIMEOUT_S = 20.0
#: Why the first start on a machine takes longer than later ones.
_FIRST_START = "the first start on a machine takes up to a minute, to compile the solver"


class DepthNode(LifecycleNode):  # type: ignore[misc]
    """Depth from one camera or several; odometry and TF from one of them.

    Args:
        load: loads the model for the settings; tests pass their own.
        options: passed to rclpy's node (``namespace``, ``parameter_overrides``, ``cli_args``, ``context``).

    Attributes:
        is_loading: whether the networks are being loaded, which takes seconds and does not react to signals by itself.
    """

    def __init__(self, load: ModelLoader = load_networks, **options: Any) -> None:
        super().__init__(options.pop("node_name", "depth_node"), **options)
        declare_parameters(self)
        self._load = load
        self._settings = read_settings(self)
        declare_per_camera(self, self._settings.camera_names)
        for warning in unknown_names(given_parameters(self), self._option):
            self.get_logger().warning(warning)
        self._own = camera_settings(self, self._settings)
        self._state = "unconfigured"
        self._enabled = True
        self.is_loading = False
        self._loaded: LoadedModel | None = None
        self._listener: TransformListener | None = None
        self._outputs: MotionOutputs | None = None
        self._sensors: MotionSensorTopics | None = None
        self._pipeline: Pipeline | None = None
        self._exchange: WeightsExchange | None = None
        self._worker: NewestItemsWorker[Arrival] | None = None
        self._channels = self._make_channels()
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_service(Trigger, "~/reset_odometry", self._on_reset_odometry)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_subscription(PoseWithCovarianceStamped, "~/set_pose", self._on_set_pose, 1)
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False),
            post_callback=self._on_clock_jump,
        )
        # Timers use the steady clock, so that they run even while use_sim_time waits for /clock.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self._settings.diagnostics_period_s, self._on_diagnostics, clock=self._steady)
        self.create_timer(ImageInput.GRAPH_CHECK_S, self._on_graph_check, clock=self._steady)
        self._start_timer = (
            self.create_timer(0.0, self._start_by_itself, clock=self._steady) if self._settings.autostart else None
        )

    # ---- lifecycle ----

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters, load and warm up the networks, create the topics."""
        return self._transition("configure", self._configure, "inactive")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start the worker."""
        return self._transition("activate", self._activate, "active")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop the worker."""
        return self._transition("deactivate", self._deactivate, "inactive")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the networks and destroy the topics."""
        return self._transition("clean up", self._clean_up, "unconfigured")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        return self._transition("shut down", self.release, "finalized")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything; the node can be configured again."""
        return self._transition("recover", self.release, "unconfigured")

    def _transition(self, verb: str, action: Callable[[], None], reached: str) -> TransitionCallbackReturn:
        try:
            action()
        except FeatDepthError as error:
            self.get_logger().error(f"cannot {verb}: {error}")
        except Exception:  # noqa: BLE001 - rclpy would swallow it without a word
            self.get_logger().error(f"cannot {verb}: {traceback.format_exc()}")
        else:
            self._state = reached
            return TransitionCallbackReturn.SUCCESS
        if verb == "configure":
            self._clean_up()
        return TransitionCallbackReturn.FAILURE

    def _start_by_itself(self) -> None:
        if self._start_timer is not None:
            self.destroy_timer(self._start_timer)
            self._start_timer = None
        success = TransitionCallbackReturn.SUCCESS
        started = self.trigger_configure() == success and self.trigger_activate() == success
        if not started and self.context.ok():  # else a signal arrived during the loading
            raise StartError("autostart failed; the log says why")

    def _configure(self) -> None:
        self._settings = read_settings(self)
        declare_per_camera(self, self._settings.camera_names)
        self._own = camera_settings(self, self._settings)
        wrong = [reason for own in self._own.values() for reason in invalid_values(own)]
        wrong += wrong_cameras(self._settings)
        if wrong:
            raise StartError("; ".join(dict.fromkeys(wrong)))
        if self._settings.camera_names != tuple(self._channels):
            self._channels = self._make_channels()
        self._listener = TransformListener(self)  # created first, so that it receives while the networks load
        self._outputs = MotionOutputs(self, self._settings, self._listener)
        started = time.monotonic()
        self.is_loading = True
        try:
            self.get_logger().info(f"loading weights '{self._settings.weights}' (takes seconds; {_FIRST_START})")
            self._loaded = self._load(self._own)
        finally:
            self.is_loading = False
        info = self._loaded.info
        self.get_logger().info(
            f"{info.name} ({info.architecture}) on {self._loaded.device}, ready after "
            f"{time.monotonic() - started:.1f} s; licence of the weights: {info.licence}"
        )
        for note in self._loaded.notes:
            self.get_logger().warning(note)
        self._sensors = MotionSensorTopics(self, self._settings, self._loaded.sensors)
        for channel in self._channels.values():
            channel.open(partial(self._loaded.rig.reset, channel.name), self._listener.tree)
        log = self.get_logger()
        say = {"info": log.info, "error": log.error}
        self._exchange = WeightsExchange(self._loaded, self._settings.weights, lambda level, words: say[level](words))
        tree = self._listener.tree
        self._pipeline = Pipeline(self, self._loaded, self._channels, self._outputs, tree, self._exchange)

    def _activate(self) -> None:
        if self._pipeline is None:
            raise StartError("the node is not configured; configure it before activate")
        self._worker = NewestItemsWorker(self._pipeline.process, "featdepth")
        self._worker.start()
        if self._enabled:
            self._listen()

    def _deactivate(self) -> None:
        self._stop_listening()
        if self._worker is not None:
            if not self._worker.stop(_STOP_TIMEOUT_S):
                raise StartError(f"the current image was not finished within {_STOP_TIMEOUT_S:g} s; try again later")
            self._worker = None

    def _clean_up(self) -> None:
        for channel in self._channels.values():
            channel.close()
        if self._outputs is not None:
            self._outputs.destroy()
        if self._sensors is not None:
            self._sensors.destroy()
        if self._listener is not None:
            self._listener.destroy()
        if self._exchange is not None:
            self._exchange.stop()
        had_model = self._loaded is not None
        self._exchange = self._outputs = self._sensors = self._listener = self._pipeline = self._loaded = None
        if had_model:
            free_memory()

    def release(self) -> None:
        """Stop the worker and free everything, from any state."""
        self._deactivate()
        self._clean_up()

    def _make_channels(self) -> dict[str, CameraChannel]:
        return {name: CameraChannel(self, name, partial(self._settings_of, name)) for name in self._own}

    def _settings_of(self, camera: str) -> Settings:
        return self._own[camera]

    def _option(self, name: str) -> Option | None:
        return SCHEMA.get(name) or per_camera_option(name, self._settings.camera_names)

    def _listen(self) -> None:
        for channel in self._channels.values():
            channel.listen(self._on_image)

    def _stop_listening(self) -> None:
        for channel in self._channels.values():
            channel.stop_listening()

    # ---- callbacks ----

    def _on_image(self, camera: str, arrival: Arrival) -> None:
        if self._worker is not None:
            replaced = self._worker.offer(camera, arrival)
            self._channels[camera].statistics.image_arrived(replaced)

    def _on_clock_jump(self, jump: Any) -> None:
        if self._pipeline is not None:
            self.get_logger().info("the clock jumped back; motion starts again at the next image")
            for channel in self._channels.values():
                channel.statistics.time_jumped()
                channel.forget_pair()

    def _on_graph_check(self) -> None:
        self._keep_weights_true()
        clock = clock_trouble(self)
        if clock and self._state == "active":
            self.get_logger().warning(clock, throttle_duration_sec=10.0, throttle_time_source_type=self._steady)
        if self._listener is not None:
            self._listener.follow_publishers()
            if self._sensors is not None and self._state == "active":
                camera = self._channels[self._settings.first_camera]
                now = self.get_clock().now().nanoseconds
                self._sensors.check(self._listener.tree, camera.frame_id, now, camera.newest_ns)
        for channel in self._channels.values():
            channel.check_graph()

    def _keep_weights_true(self) -> None:
        """Set the parameter ``weights`` back to the weights in use if new ones failed to load."""
        report = self._exchange.report if self._exchange else None
        if report and report.trouble and not report.pending and self._settings.weights != report.weights:
            self.set_parameters([Parameter("weights", value=report.weights)])

    def _on_diagnostics(self) -> None:
        pipeline, loaded, exchange = self._pipeline, self._loaded, self._exchange
        extrinsics = pipeline.base.extrinsics if pipeline else None
        conflict = (self._listener.conflict if self._listener else "") or (pipeline.base.missing if pipeline else "")
        common = Health(
            state=self._state,
            enabled=self._enabled,
            figures=Snapshot(),
            info=exchange.report.info if exchange else None,
            weights=self._settings.weights,
            exchange=exchange.report if exchange else None,
            device=loaded.device if loaded else "",
            notes=loaded.rig.notes if loaded else (),
            backend=loaded.rig.backend if loaded else "",
            clock=clock_trouble(self),
        )
        array = DiagnosticArray()
        for name, channel in self._channels.items():
            health = channel.health(common)
            if name == self._settings.first_camera:
                health = replace(health, base=extrinsics.base if extrinsics else "", conflict=conflict)
                if self._sensors is not None:
                    topics = (*health.topics, *self._sensors.figures())
                    health = replace(health, topics=topics, sensors=self._sensors.trouble())
            title = f"{self.get_fully_qualified_name().lstrip('/')}: {name or 'pipeline'}"
            message = diagnostic_message(title, self.get_clock().now().nanoseconds, health)
            array.header = message.header
            array.status = [*array.status, *message.status]
        self._diagnostics.publish(array)

    def _on_reset_odometry(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._pipeline is None:
            response.success, response.message = False, "the node is not configured: there is no odometry to reset"
            return response
        self._pipeline.restart_odometry()
        response.success, response.message = True, "odometry starts at the origin with the next image"
        return response

    def _on_set_pose(self, msg: PoseWithCovarianceStamped) -> None:
        try:
            pose = given_pose(msg, self._settings.odom_frame)
        except ValueError as error:
            self.get_logger().error(f"~/set_pose is rejected: {error}")
            return
        if self._pipeline is None:
            self.get_logger().error("~/set_pose is rejected: the node is not configured, so there is no pose to set")
            return
        self._pipeline.base.set_pose(pose)
        self.get_logger().info("the pose continues from ~/set_pose with the next image")

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = bool(request.data)
        if self._state == "active":
            if self._enabled:
                self._listen()
            else:
                self._stop_listening()
        response.success = True
        response.message = f"{'on' if self._enabled else 'off'}; the node is {self._state}"
        return response

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        live = changed_live(self._settings, changes)
        reason = rejection_reason(changes, self._state, self._option)
        reason = reason or "; ".join(invalid_values(replace(self._settings, **live)) if live else ())
        if reason:
            return SetParametersResult(successful=False, reason=reason)
        if "weights" in live and self._exchange is not None:
            reason = self._exchange.rejection_reason(live["weights"])
            if reason:
                return SetParametersResult(successful=False, reason=reason)
            self._exchange.request(live["weights"])
        if live:
            self._settings = replace(self._settings, **live)
            self._own = {name: replace(own, **live) for name, own in self._own.items()}
            for channel in self._channels.values():
                if "reliability" in live and channel.input is not None:
                    channel.input.set_reliability(str(live["reliability"]))
        return SetParametersResult(successful=True)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM. Returns 0, or 1 when it could not start."""
    wait_asleep()
    keep_freed_memory()
    return run_node("depth_node", DepthNode, args)


if __name__ == "__main__":
    sys.exit(main())
