"""refine_node: fills the buffer, runs the learner, and puts its weights on trial in depth_node."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.recordings.buffer.writer import BufferWriter
from featdepth_ros.ros.compat import given_parameters, keep_last
from featdepth_ros.ros.frames.listener import TransformListener
from featdepth_ros.ros.parameters.schema import declare
from featdepth_ros.ros.parameters.settings import unknown_names
from featdepth_ros.ros.refine.director import Director
from featdepth_ros.ros.refine.intake import Filler, Joiner
from featdepth_ros.ros.refine.learner import Command, LearnerProcess, learner_command
from featdepth_ros.ros.refine.ledger import Ledger
from featdepth_ros.ros.refine.live import read_report
from featdepth_ros.ros.refine.report import Parts, diagnostics, status_text
from featdepth_ros.ros.refine.settings import SCHEMA, RefineSettings, read_settings
from featdepth_ros.ros.running.spin import StartError, run_node

#: Nice value of this process; the learner has the lowest priority.
_NICENESS = 10
#: Period of the decisions, seconds.
_TICK_S = 0.5
#: Seconds that the buffer may take to complete its segment at the end.
_STOP_TIMEOUT_S = 5.0


class RefineNode(Node):  # type: ignore[misc]
    """Refines the weights of one depth_node. The learner computes in a separate process, this node does not.

    Args:
        command: returns the learner's command line; tests pass their own.
        options: passed to rclpy's node.

    Raises:
        StartError: the folder cannot be used.
    """

    is_loading = False

    def __init__(self, command: Command = learner_command, **options: Any) -> None:
        super().__init__("refine_node", **options)
        declare(self, SCHEMA.values(), "Read at the start.")
        self._settings = read_settings(self)
        for warning in unknown_names(given_parameters(self), SCHEMA.get, SCHEMA):
            self.get_logger().warning(warning)
        self._running = self._settings.autostart
        self._disk_trouble = ""
        work = self._settings.work
        try:
            ledger = Ledger(work)
        except OSError as error:
            raise StartError(
                f"the folder '{work}' cannot be used: {error.strerror}; set the parameter folder to a writable one"
            ) from error
        self._director = Director(
            ledger, lambda: self._settings, self._ask, lambda words: self.get_logger().info(words)
        )
        self._learner = LearnerProcess(work, command)
        self._listener = TransformListener(self)
        self._filler = Filler(
            lambda: BufferWriter(work / "buffer", self._settings.buffer_mb), self._listener.tree, self._is_metric
        )
        self._filler.wanted = self._running
        self._filler.start()
        self._joiner = Joiner(self._filler.offer, lambda: self._settings.max_rate_hz)
        self._subscribe()
        self._publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._client = self.create_client(SetParameters, f"{self._settings.node}/set_parameters")
        for name, answer in (
            ("start", lambda: self._run(True)),
            ("stop", lambda: self._run(False)),
            ("accept", self._director.accept),
            ("rollback", self._director.roll_back),
            ("status", lambda: (True, status_text(self._parts()))),
        ):
            self.create_service(Trigger, f"~/{name}", self._service(answer))
        self.add_on_set_parameters_callback(self._on_set_parameters)
        # Timers use the steady clock, so that they run even while use_sim_time waits for /clock.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_TICK_S, self._on_tick, clock=steady)
        self.create_timer(self._settings.diagnostics_period_s, self._on_diagnostics, clock=steady)
        self.get_logger().info(f"refining '{self._settings.node}' in '{work}', budget {self._settings.budget:g} cores")

    def release(self) -> None:
        """End the learner and complete the buffer's segment."""
        self._learner.end()
        self._filler.stop(_STOP_TIMEOUT_S)

    def _subscribe(self) -> None:
        name, camera = self._settings.node, self._settings.camera
        before = f"{name}/{camera}" if camera else name
        # Best effort receives from every publisher, and never makes depth_node wait.
        pictures = keep_last(2, ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Image, f"{before}/image_rect", self._joiner.on_image, pictures)
        self.create_subscription(CameraInfo, f"{before}/camera_info", self._joiner.on_info, pictures)
        odometry = keep_last(10, ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Odometry, "odom", self._joiner.on_odometry, odometry)
        self.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_reports, keep_last(20, ReliabilityPolicy.BEST_EFFORT)
        )

    # ---- callbacks ----

    def _on_reports(self, msg: DiagnosticArray) -> None:
        title = f"{self.resolve_topic_name(self._settings.node).lstrip('/')}: {self._settings.camera or 'pipeline'}"
        for status in msg.status:
            report = read_report(status, time.monotonic()) if status.name == title else None
            if report is not None:
                self._guarded(partial(self._director.take, report, self._filler.newest_ns))

    def _on_tick(self) -> None:
        accepted = self._director.accepted
        self._guarded(lambda: self._director.tick(self._running, self._learner.pid is not None))
        before = self._learner.trouble
        self._learner.update(self._running, accepted.shipped if accepted else "", self._settings)
        if self._learner.trouble and self._learner.trouble != before:
            self.get_logger().error(self._learner.trouble)

    def _guarded(self, decide: Callable[[], None]) -> None:
        """Run ``decide``; a disk error is reported in diagnostics and the decision tried again later."""
        try:
            decide()
            self._disk_trouble = ""
        except OSError as error:
            self._disk_trouble = f"decisions cannot be written to '{self._settings.work}': {error.strerror or error}"
            self.get_logger().error(self._disk_trouble, throttle_duration_sec=30.0)

    def _ask(self, weights: str) -> None:
        """Set the parameter of depth_node; never waits."""
        if not self._client.service_is_ready():
            return  # the request is repeated later
        request = SetParameters.Request(parameters=[Parameter("weights", value=weights).to_parameter_msg()])
        future = self._client.call_async(request)

        def answered(done: Any) -> None:
            result = done.result()
            refusal = "" if result is None or result.results[0].successful else result.results[0].reason
            self._guarded(lambda: self._director.answered(weights, refusal))

        future.add_done_callback(answered)

    def _run(self, wanted: bool) -> tuple[bool, str]:
        self._running = self._filler.wanted = wanted
        self._learner.update(False, "", self._settings)  # resets the crash count; the next tick starts it if wanted
        return True, "learning begins" if wanted else "learning ends; the weights in use stay"

    def _service(self, answer: Callable[[], tuple[bool, str]]) -> Callable[[Any, Any], Any]:
        def serve(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                response.success, response.message = answer()
            except (FeatDepthError, OSError) as error:
                response.success, response.message = False, str(error)
            return response

        return serve

    def _is_metric(self) -> bool:
        report = self._director.report
        return report is not None and report.metric

    def _parts(self) -> Parts:
        trouble = self._disk_trouble or self._filler.trouble
        return Parts(
            self._running, self._director, self._learner, self._filler.figures, trouble, str(self._settings.work)
        )

    def _on_diagnostics(self) -> None:
        name = self.get_fully_qualified_name().lstrip("/")
        self._publisher.publish(diagnostics(self._parts(), name, self.get_clock().now().nanoseconds))

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        live: dict[str, Any] = {}
        for change in changes:
            option = SCHEMA.get(change.name)
            if option is None or change.value is None:
                continue
            reason = option.invalid_reason(change.value)
            if not reason and not option.live:
                reason = f"'{change.name}' is read at the start: start the node again with it"
            if reason:
                return SetParametersResult(successful=False, reason=reason)
            live[change.name] = change.value
        settings: RefineSettings = replace(self._settings, **live)
        self._settings = settings
        return SetParametersResult(successful=True)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM. Returns 0, or 1 when it could not start."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)  # the nodes that drive the robot have priority
    return run_node("refine_node", RefineNode, args)


if __name__ == "__main__":
    sys.exit(main())
