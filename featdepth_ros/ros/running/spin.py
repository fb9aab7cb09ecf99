"""Runs a node in a process: from its start to a signal, with a complete clean-up."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.ros.middleware import use_shared_memory_profile
from featdepth_ros.ros.watch.troubles import start_trouble


class StartError(FeatDepthError):
    """The node could not start, or a transition of its lifecycle failed."""


class _Left(BaseException):
    """A signal ends the loading. It is no KeyboardInterrupt, which the interpreter may turn into exit code 130."""


def run_node(name: str, make: Callable[[], Any], args: Sequence[str] | None) -> int:
    """Run a node until SIGINT or SIGTERM.

    Args:
        name: name of the node in messages on standard error.
        make: creates the node. Its ``release()`` frees everything from any state. Its ``is_loading`` is true during
            work that takes seconds and does not react to signals.
        args: command-line arguments; None: those of the process.

    Returns:
        0, or 1 if the node could not start.
    """
    use_shared_memory_profile()
    node: Any = None
    code, begun = 0, False

    def leave_while_loading(*_: object) -> None:
        if node is not None and node.is_loading:
            raise _Left

    signal.signal(signal.SIGTERM, leave_while_loading)  # before rclpy installs its handler, which calls this one
    try:
        rclpy.init(args=None if args is None else list(args))
        begun = True
        node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException, _Left):
        pass
    except StartError as error:
        print(f"{name}: {error}", file=sys.stderr)
        code = 1
    except Exception as error:
        # A signal may also cause an RCLError from a wait on a context that was shut down.
        if rclpy.ok() or not begun:
            if node is not None:
                raise
            print(f"{name}: {start_trouble(str(error))}", file=sys.stderr)
            code = 1
    finally:
        _leave(name, node)
    return code


def _leave(name: str, node: Any) -> None:
    """Clean up; further signals are ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        if node is not None:
            node.release()
            node.destroy_node()
    except Exception as error:  # noqa: BLE001 - the context may be gone already; nothing is left to do
        print(f"{name}: error during the shutdown: {error}", file=sys.stderr)
    finally:
        rclpy.try_shutdown()
