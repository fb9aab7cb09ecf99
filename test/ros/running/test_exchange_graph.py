"""`ros2 param set /depth_node weights FILE` while images flow: nothing is lost or jumps, and what fails says why."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray
from known_world import CAMERA, Wall
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from ros_graph import Graph, Probe, call, graph, wait

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.messages.stamps import stamp_ns
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import save_model
from featdepth_ros.models.compact import CompactModel
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.ros.calibration import info_from_camera
from featdepth_ros.ros.images import image_message
from featdepth_ros.ros.node import DepthNode

pytest.importorskip("numba")
pytest.importorskip("scipy")
pytestmark = pytest.mark.ros

START, STEP_NS, STEP_M = 1_700_000_000_000_000_000, 100_000_000, 0.08
INFO = ModelInfo(architecture="compact", scale_kind="metric", input_size=(64, 96), min_depth=2.0, max_depth=40.0)


def weights(folder: Path, name: str, factor: float = 1.0, **changes: Any) -> str:
    """Write weights with nearly flat depth; ``factor`` makes all of it larger."""
    torch.manual_seed(0)
    model = build_model("compact", INFO)
    assert isinstance(model, CompactModel)
    for head in model.decoder.head:
        torch.nn.init.normal_(head.weight, std=1e-4)
    model.info = INFO.with_(name=name, min_depth=INFO.min_depth * factor, max_depth=INFO.max_depth * factor, **changes)
    return str(save_model(folder / f"{name}.safetensors", model))


class Drive:
    """A node and a camera that goes along a wall."""

    def __init__(self, ros: Graph, first: str, **parameters: Any) -> None:
        self.probe = Probe(ros, reliable=True)
        self.odoms = self.probe.hear(Odometry, "/odom")
        self.reports = self.probe.hear(DiagnosticArray, "/diagnostics")
        self.sent = 0
        self._wall = Wall(distance=6.0)
        values = {"weights": first, "extrinsics_timeout_s": 0.0, "diagnostics_period_s": 0.1, "backend": "torch"}
        values |= {"precision": "fp32", "standing_gate": False, "reliability": "reliable", **parameters}
        self.node = ros.add(
            DepthNode(
                context=ros.context,
                cli_args=["--ros-args", "-r", "image_raw:=/camera/image_raw"],
                parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
            )
        )
        wait(lambda: self.probe.images.get_subscription_count(), "the node", 120.0)

    def go(self, frames: int) -> None:
        """Send so many frames, each after the odometry of the one before."""
        for _ in range(frames):
            stamp = START + self.sent * STEP_NS
            picture = self._wall.view(se3.make(np.eye(3), np.array([STEP_M * self.sent, 0.0, 0.0])))
            self.probe.infos.publish(info_from_camera(CAMERA, stamp, "camera_optical"))
            if self.sent == 0:
                time.sleep(0.5)
            self.probe.images.publish(image_message(picture, "rgb8", stamp, "camera_optical"))
            self.sent += 1
            wait(lambda: len(self.odoms) >= self.sent, f"odometry of frame {self.sent}", 60.0)

    def set(self, value: str) -> Any:
        """Set the parameter."""
        request = SetParameters.Request(parameters=[Parameter("weights", value=value).to_parameter_msg()])
        return call(self.probe, SetParameters, "/depth_node/set_parameters", request).results[0]

    def get(self) -> str:
        """Return the parameter."""
        request = GetParameters.Request(names=["weights"])
        return str(call(self.probe, GetParameters, "/depth_node/get_parameters", request).values[0].string_value)

    def told(self) -> dict[str, str]:
        """Return the values of the newest diagnostics, with its message."""
        status = self.reports[-1].status[0]
        return {**{v.key: v.value for v in status.values}, "message": status.message}

    def go_until(self, condition: Any, what: str, most: int = 40) -> None:
        """Send frames until a condition of the diagnostics holds."""
        for _ in range(most):
            self.go(1)
            end = time.monotonic() + 0.4
            while time.monotonic() < end:
                if condition(self.told()):
                    return
                time.sleep(0.02)
        raise AssertionError(f"{what}: {self.told()}")

    def steps_m(self) -> np.ndarray:
        """Distances between the poses that were published one after the other, metres."""
        places = np.array([[getattr(m.pose.pose.position, axis) for axis in "xyz"] for m in self.odoms])
        return np.asarray(np.linalg.norm(np.diff(places, axis=0), axis=1))


@pytest.fixture
def ros() -> Iterator[Graph]:
    with graph() as made:
        yield made
        assert made.failure is None, made.failure


@pytest.mark.slow
def test_weights_change_between_two_frames_and_nothing_jumps(ros: Graph, tmp_path: Path) -> None:
    first, second = weights(tmp_path, "first"), weights(tmp_path, "second", 1.3)
    drive = Drive(ros, first)
    drive.go(14)
    assert drive.set(second).successful
    drive.go_until(lambda told: told["weights"] == second, "the exchange")
    told = drive.told()
    assert (told["weights_swapped"], told["weights_pending"], told["weights_trouble"]) == ("1", "", "")
    assert told["model"] == "second" and drive.get() == second
    swapped_at = len(drive.odoms)
    drive.go(8)
    wait(lambda: int(drive.told()["processed"]) == drive.sent, "every frame")
    assert drive.told()["dropped"] == "0"
    stamps = [stamp_ns(m.header.stamp) for m in drive.odoms]
    assert stamps == [START + index * STEP_NS for index in range(drive.sent)]
    steps = drive.steps_m()
    before, after = np.median(steps[6:14]), np.median(steps[swapped_at:])
    assert before > 0 and after == pytest.approx(before, rel=0.05), "the scale is held"
    assert steps[6:].max() < 1.5 * before and steps[6:].min() > 0.5 * before

    # A way back is a way like any other.
    assert drive.set(first).successful
    drive.go_until(lambda told: told["weights"] == first and told["weights_swapped"] == "2", "the way back")


@pytest.mark.slow
def test_what_fails_leaves_the_old_weights_and_says_why(ros: Graph, tmp_path: Path) -> None:
    first = weights(tmp_path, "first")
    drive = Drive(ros, first)
    drive.go(2)
    truncated, spoiled = tmp_path / "truncated.safetensors", tmp_path / "spoiled.safetensors"
    truncated.write_bytes(Path(first).read_bytes()[:1000])
    for bad, words in (
        (str(tmp_path / "nothing.safetensors"), "no weights at"),
        (str(truncated), "truncated"),
        (weights(tmp_path, "other", input_size=(96, 96)), "(96, 96)"),
        (weights(tmp_path, "relative", scale_kind="relative"), "of the scale relative"),
    ):
        answer = drive.set(bad)
        assert not answer.successful and words in answer.reason, (bad, answer.reason)
    # Its head is sound: what is wrong shows when it is loaded.
    content = bytearray(Path(weights(tmp_path, "nan")).read_bytes())
    content[-4000:] = b"\xff" * 4000
    spoiled.write_bytes(content)
    assert drive.set(str(spoiled)).successful
    drive.go_until(lambda told: "not finite" in told["weights_trouble"], "the trouble")
    wait(lambda: drive.get() == first, "the parameter to tell the truth")
    told = drive.told()
    assert told["weights"] == first and told["weights_swapped"] == "0" and told["weights_pending"] == ""
    drive.go(3)


@pytest.mark.slow
def test_the_newest_of_two_wishes_counts_and_early_ones_wait_for_pictures(ros: Graph, tmp_path: Path) -> None:
    first, second, third = (weights(tmp_path, n, f) for n, f in (("first", 1.0), ("second", 1.3), ("third", 0.8)))
    drive = Drive(ros, first)
    assert drive.set(second).successful
    wait(lambda: "waits for pictures" in drive.told()["weights_pending"], "the words")
    assert drive.set(third).successful
    drive.go_until(lambda told: told["weights"] == third, "the third")
    assert drive.told()["weights_swapped"] == "1"
