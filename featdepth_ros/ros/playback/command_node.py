"""A ROS node for a command-line verb: with the shipped Fast DDS profile, and stopped by SIGINT and SIGTERM."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from featdepth_ros.errors import MissingDependencyError
from featdepth_ros.ros.middleware import use_shared_memory_profile


@contextlib.contextmanager
def command_node(name: str) -> Iterator[tuple[Any, threading.Event]]:
    """Yield (node, stop event). The first signal sets the event; later ones do not interrupt the clean-up.

    It must be entered on the main thread. Domain, discovery and middleware are those of the environment.

    Raises:
        MissingDependencyError: rclpy is not available in this environment.
    """
    use_shared_memory_profile()
    try:
        import rclpy
        from rclpy.signals import SignalHandlerOptions
    except ImportError as error:
        raise MissingDependencyError(
            f"ROS 2 (rclpy) is not available: {error}. Source a ROS 2 installation, or run in the environment that "
            "'make demo' sets up"
        ) from error
    stop = threading.Event()

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    earlier = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node(name, enable_rosout=False, start_parameter_services=False)
        try:
            yield node, stop
        finally:
            node.destroy_node()
            rclpy.try_shutdown()
    finally:
        for number, handler in earlier.items():
            # After the first signal, a second Ctrl-C must not kill the interpreter during the clean-up.
            signal.signal(number, signal.SIG_IGN if stop.is_set() else handler)
