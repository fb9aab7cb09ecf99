"""The process of a node: from its start to a signal, with nothing left behind."""

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
    """The node was to start by itself and could not."""


class _Left(BaseException):
    """A signal ends the loading. A KeyboardInterrupt would not do: the interpreter may turn it into exit code 130."""


def run_node(name: str, make: Callable[[], Any], args: Sequence[str] | None) -> int:
    """Run a node until SIGINT or SIGTERM.

    Args:
        name: for what is said on standard error.
        make: makes the node. It has ``release()``, which frees everything from whatever state, and ``is_loading``:
            something is in work that takes seconds and answers no signal by itself.
        args: of the command line; None: the process's.

    Returns:
        0, or 1 when it could not start.
    """
    use_shared_memory_profile()
    node: Any = None
    code, begun = 0, False

    def leave_while_loading(*_: object) -> None:
        if node is not None and node.is_loading:
            raise _Left

    signal.signal(signal.SIGTERM, leave_while_loading)  # before rclpy sets its own, which goes on to this one
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
        # A signal may also surface as RCLError out of a wait on a context that is gone.
        if rclpy.ok() or not begun:
            if node is not None:
                raise
            print(f"{name}: {start_trouble(str(error))}", file=sys.stderr)
            code = 1
    finally:
        _leave(name, node)
    return code


def _leave(name: str, node: Any) -> None:
    """Clean up undisturbed by further signals."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        if node is not None:
            node.release()
            node.destroy_node()
    except Exception as error:  # noqa: BLE001 - the context may be gone already; nothing is left to do
        print(f"{name}: while leaving: {error}", file=sys.stderr)
    finally:
        rclpy.try_shutdown()
