"""A node with small networks and a camera that moves to and fro along a wall, in a real ROS graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticArray
from known_world import CAMERA, Wall
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from ros_graph import Graph, Probe, call, wait

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import save_model
from featdepth_ros.models.compact import CompactModel
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.ros.calibration import info_from_camera
from featdepth_ros.ros.images import image_message
from featdepth_ros.ros.node import DepthNode

START, STEP_NS, STEP_M = 1_700_000_000_000_000_000, 100_000_000, 0.08
INFO = ModelInfo(architecture="compact", scale_kind="metric", input_size=(64, 96), min_depth=2.0, max_depth=40.0)


def flat_weights(folder: Path, name: str, factor: float = 1.0, **changes: Any) -> str:
    """Write weights with nearly constant depth, which is multiplied by ``factor``."""
    torch.manual_seed(0)
    model = build_model("compact", INFO)
    assert isinstance(model, CompactModel)
    for head in model.decoder.head:
        torch.nn.init.normal_(head.weight, std=1e-4)
    model.info = INFO.with_(name=name, min_depth=INFO.min_depth * factor, max_depth=INFO.max_depth * factor, **changes)
    return str(save_model(folder / f"{name}.safetensors", model))


class WallDrive:
    """A node, and a camera that moves to and fro along a wall."""

    def __init__(self, ros: Graph, first: str, **parameters: Any) -> None:
        self.probe = Probe(ros, reliable=True)
        self.odoms = self.probe.hear(Odometry, "/odom")
        self.reports = self.probe.hear(DiagnosticArray, "/diagnostics")
        self.sent = 0
        self._wall = Wall(distance=6.0)
        values = {"weights": first, "extrinsics_timeout_s": 0.0, "diagnostics_period_s": 0.1, "backend": "torch"}
        values |= {"precision": "fp32", "standing_gate": False, "reliability": "reliable", **parameters}
        self._ros, self._values = ros, values
        self.start_node()

    def start_node(self) -> None:
        """Start the node with the original parameters."""
        self.node = self._ros.add(
            DepthNode(
                context=self._ros.context,
                cli_args=["--ros-args", "-r", "image_raw:=/camera/image_raw"],
                parameter_overrides=[Parameter(name, value=value) for name, value in self._values.items()],
            )
        )
        wait(lambda: self.probe.images.get_subscription_count(), "the node", 120.0)
        self._is_new = True

    def end_node(self) -> None:
        """Destroy the node without notice to its subscribers."""
        self._ros.nodes.remove(self.node)
        self._ros.executor.remove_node(self.node)
        self.node.release()
        self.node.destroy_node()
        wait(lambda: not self.probe.images.get_subscription_count(), "the node's end", 20.0)

    def go(self, frames: int) -> None:
        """Send ``frames`` frames, each after the odometry of the previous one."""
        for _ in range(frames):
            stamp = START + self.sent * STEP_NS
            place = abs((self.sent + 15) % 60 - 30) - 15  # to and fro, because the wall is finite
            picture = self._wall.view(se3.make(np.eye(3), np.array([STEP_M * place, 0.0, 0.0])))
            self.probe.infos.publish(info_from_camera(CAMERA, stamp, "camera_optical"))
            if self._is_new:  # the calibration first
                time.sleep(0.5)
                self._is_new = False
            self.probe.images.publish(image_message(picture, "rgb8", stamp, "camera_optical"))
            self.sent += 1
            wait(lambda: len(self.odoms) >= self.sent, f"odometry of frame {self.sent}", 60.0)

    def set(self, value: str) -> Any:
        """Set the parameter ``weights``."""
        request = SetParameters.Request(parameters=[Parameter("weights", value=value).to_parameter_msg()])
        return call(self.probe, SetParameters, "/depth_node/set_parameters", request).results[0]

    def get(self) -> str:
        """Return the parameter ``weights``."""
        request = GetParameters.Request(names=["weights"])
        return str(call(self.probe, GetParameters, "/depth_node/get_parameters", request).values[0].string_value)

    def told(self) -> dict[str, str]:
        """Return the values of the newest diagnostics, with their message."""
        status = self.reports[-1].status[0]
        return {**{v.key: v.value for v in status.values}, "message": status.message}

    def go_until(self, condition: Callable[[dict[str, str]], Any], what: str, most: int = 100) -> None:
        """Send frames until the diagnostics fulfil a condition."""
        for _ in range(most):
            self.go(1)
            end = time.monotonic() + 0.15
            while time.monotonic() < end:
                if condition(self.told()):
                    return
                time.sleep(0.02)
        raise AssertionError(f"{what}: {self.told()}")

    def steps_m(self) -> np.ndarray:
        """Return the distances between consecutive published poses, metres."""
        places = np.array([[getattr(m.pose.pose.position, axis) for axis in "xyz"] for m in self.odoms])
        return np.asarray(np.linalg.norm(np.diff(places, axis=0), axis=1))
