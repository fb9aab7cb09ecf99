"""A depth_node with a fake model in a separate ROS graph, and helpers for its state and diagnostics."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from fake_model import FakeEstimator, fake_loaded_model
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.parameter import Parameter
from ros_graph import Graph, Probe, call, wait

from featdepth_ros.ros.node import DepthNode

#: Stamp of the first image, nanoseconds.
START = 1_700_000_000_000_000_000
DEPTH, INFO, POINTS = "/depth_node/depth/image_rect", "/depth_node/depth/camera_info", "/depth_node/points"


def start(ros: Graph, fake: FakeEstimator | None = None, *remaps: str, **parameters: Any) -> Any:
    """Add a node that subscribes to /camera/image_raw and does not wait for extrinsics."""
    settings = {"extrinsics_timeout_s": 0.0, "camera_info_timeout_s": 0.3, "diagnostics_period_s": 0.1, **parameters}
    remaps = remaps or ("image_raw:=/camera/image_raw",)
    loaded = fake_loaded_model(fake or FakeEstimator())
    return ros.add(
        DepthNode(
            load=lambda _: loaded,
            context=ros.context,
            cli_args=["--ros-args", *(word for remap in remaps for word in ("-r", remap))],
            parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()],
        )
    )


def state_of(probe: Probe) -> str:
    """Return the lifecycle state of the node."""
    return str(call(probe, GetState, "/depth_node/get_state", GetState.Request()).current_state.label)


def change_state(probe: Probe, transition: int) -> bool:
    """Request a lifecycle transition and return whether it succeeded."""
    request = ChangeState.Request()
    request.transition.id = transition
    return bool(call(probe, ChangeState, "/depth_node/change_state", request).success)


def status(messages: list[DiagnosticArray]) -> dict[str, str]:
    """Return the values of the newest diagnostics, with their level and message."""
    newest = wait(lambda: [m for m in messages if m.status[0].name == "depth_node: pipeline"], "diagnostics")[-1]
    newest = newest.status[0]
    return {**{v.key: v.value for v in newest.values}, "level": newest.level.hex(), "message": newest.message}
