"""The real node, without DDS traffic, on a drive along a known wall, with many kinds of faults.

Images go directly to the node's pipeline, and its diagnostics are read where they would be published. The clock is
simulated: every frame takes a tenth of a second, independent of the computing time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from known_world import CAMERA, KnownModel, Wall
from numpy.typing import NDArray
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.odometry import Odometry
from featdepth_ros.inference.rig.rig import Rig
from featdepth_ros.ros.calibration import info_from_camera
from featdepth_ros.ros.images import image_message
from featdepth_ros.ros.inputs import Arrival
from featdepth_ros.ros.loading import LoadedModel
from featdepth_ros.ros.node import DepthNode
from featdepth_ros.ros.parameters.settings import Settings
from featdepth_ros.ros.transforms import transform_message

START, STEP_NS = 1_700_000_000_000_000_000, 100_000_000
FRAME_ID = "camera_optical"
#: Half the length of the path to and fro along the wall, metres, and frames of one period.
SWING_M, PERIOD = 1.5, 60
#: Levels of the diagnostics.
OK, WARN, ERROR = (bytes([level]) for level in range(3))


class FaultyDrive:
    """A drive in which every frame can have a fault.

    Args:
        clock: time of the drive in seconds, which the node reads as its monotonic clock.
        context: ROS context.
        parameters: parameters of the node.

    Attributes:
        index: index of the newest frame.
        node: the node.
    """

    def __init__(self, clock: list[float], context: Any, **parameters: Any) -> None:
        self.index, self.offset_ns = -1, 0
        self._clock = clock
        self._model = KnownModel()
        self._walls = [Wall(seed=seed) for seed in range(2)]
        self._wall = 0
        self._last: NDArray[np.uint8] | None = None
        values = {
            "extrinsics_timeout_s": 0.0,
            "autostart": False,
            "precision": "fp32",
            "min_valid_share": 0.5,
            **parameters,
        }
        self.node = DepthNode(
            load=self._load,
            context=context,
            cli_args=["--ros-args", "-r", "image_raw:=/camera/image_raw"],
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        self._told: list[DiagnosticArray] = []
        self.node._diagnostics = self  # the drive keeps the messages instead of publishing them
        self.node.trigger_configure()
        self.node.trigger_activate()
        assert self.node._listener is not None
        self.node._listener.tree._clock = lambda: clock[0]

    def _load(self, cameras: Mapping[str, Settings]) -> LoadedModel:
        rig = Rig(self._model, {"": cameras[""].estimator_config()}, "", device="cpu")
        return LoadedModel(rig, Odometry, self._model.info, "cpu")

    def publish(self, message: DiagnosticArray) -> None:
        """Keep a message that the node would publish on /diagnostics."""
        self._told = [message]

    def at(self, index: int) -> NDArray[np.float64]:
        """Return T_world_camera (4, 4) of a frame."""
        return se3.make(np.eye(3), np.array([SWING_M * math.sin(2 * math.pi * index / PERIOD), 0.0, 0.0]))

    def next_image(self) -> NDArray[np.uint8]:
        """Advance by one frame and return its image."""
        self.index += 1
        self._clock[0] += STEP_NS * 1e-9
        here, wall = self.at(self.index), self._walls[self._wall]
        before = self.at(self.index - 1)
        shift = se3.inverse(here) @ before
        self._model.script.motion = ([0.0, 0.0, 0.0], [float(v) for v in shift[:3, 3]])
        self._model.script.depth = wall.depth(here)
        return wall.view(here, noise=1.0, seed=self.index)

    def send(self, image: NDArray[np.uint8] | Image, frame_id: str = FRAME_ID, info: Any = None) -> None:
        """Send one frame to the node."""
        stamp = START + self.index * STEP_NS + self.offset_ns
        message = image if isinstance(image, Image) else image_message(image, "rgb8", stamp, frame_id)
        channel = self.node._channels[""]
        assert channel.input is not None and self.node._pipeline is not None
        channel.input._infos.append((stamp, info or info_from_camera(CAMERA, stamp, frame_id)))
        channel.statistics.image_arrived(replaced=False)
        self.node._pipeline.process({"": Arrival(message, time.monotonic_ns())})

    def drive(self, frames: int) -> None:
        """Send frames without a fault."""
        for _ in range(frames):
            self.send(self.next_image())

    def told(self) -> tuple[bytes, str, dict[str, str]]:
        """Return level, message and values of the node's present diagnostics."""
        self.node._on_graph_check()
        self.node._on_diagnostics()
        (status,) = self._told[-1].status
        return status.level, status.message, {v.key: v.value for v in status.values}

    # -- faults: each ends with a check of the diagnostics ---------------------------------------------------------

    def dark(self) -> None:
        """A black image, as in the dark."""
        self.send(np.zeros_like(self.next_image()))

    def noisy_dark(self) -> None:
        """A black image with sensor noise."""
        image = self.next_image()
        noise = np.random.default_rng(self.index).normal(0.0, 4.0, image.shape)
        self.send(np.clip(noise, 0, 255).astype(np.uint8))

    def white(self) -> None:
        """An overexposed image."""
        self.send(np.full_like(self.next_image(), 255))

    def blur(self) -> None:
        """An image out of focus."""
        self.send(np.asarray(cv2.GaussianBlur(self.next_image(), (0, 0), 12.0), dtype=np.uint8))

    def frozen(self) -> None:
        """The driver delivers the last image again."""
        image = self.next_image()
        self.send(image)
        self.index += 1
        self._clock[0] += STEP_NS * 1e-9
        self.send(image)

    def cut(self) -> None:
        """A sudden change to another place."""
        self._wall = 1 - self._wall
        self.send(self.next_image())

    def half_covered(self) -> None:
        """Most of the lens is covered, but the rest suffices for the motion."""
        image = self.next_image()
        image[:, 128:] = 0
        self.send(image)

    def bad_message(self) -> None:
        """A message whose ``step`` is too small."""
        message = image_message(self.next_image(), "rgb8", START + self.index * STEP_NS, FRAME_ID)
        message.step = 7
        self.send(message)

    def silent(self) -> None:
        """No image arrives for longer than the watchdog's timeout."""
        pause_s = self.node._settings.watchdog_s + 1.0
        self._clock[0] += pause_s
        self.offset_ns += round(pause_s * 1e9)

    def after_silence(self) -> None:
        """Images arrive again after a long gap."""
        self.offset_ns += 5_000_000_000
        self._clock[0] += 5.0
        self.drive(1)

    def bad_calibration(self) -> None:
        """A focal length in image widths instead of pixels."""
        image = self.next_image()
        info = info_from_camera(CAMERA, START + self.index * STEP_NS, FRAME_ID)
        info.k = [v / CAMERA.width for v in info.k[:8]] + [1.0]
        info.p = [v / CAMERA.width for v in info.p[:10]] + [1.0, 0.0]
        self.send(image, info=info)

    def columns(self) -> None:
        """A K matrix in column-major order."""
        image = self.next_image()
        info = info_from_camera(CAMERA, START + self.index * STEP_NS, FRAME_ID)
        info.k = [float(v) for v in np.reshape(info.k, (3, 3)).T.ravel()]
        self.send(image, info=info)

    def other_calibration(self) -> None:
        """The camera_info of another camera with the same image size."""
        other = replace(CAMERA, fx=1.2 * CAMERA.fx, fy=1.2 * CAMERA.fy)
        image = self.next_image()
        self.send(image, info=info_from_camera(other, START + self.index * STEP_NS, FRAME_ID))

    def other_size(self) -> None:
        """The driver changes its resolution."""
        image = np.asarray(cv2.resize(self.next_image(), (160, 48), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        stamp = START + self.index * STEP_NS
        self.send(image, info=info_from_camera(CAMERA.resized(160, 48), stamp, FRAME_ID))

    def other_frame(self) -> None:
        """An image with the frame_id of another camera."""
        self.send(self.next_image(), frame_id="other_optical")

    def still_stamps(self) -> None:
        """Images whose stamps do not change."""
        before = self.offset_ns
        for _ in range(round(self.node._settings.watchdog_s * 1e9 / STEP_NS) + 3):
            image = self.next_image()
            self.offset_ns -= STEP_NS
            self.send(image)
        self.offset_ns = before

    def future(self) -> None:
        """Stamps that are thirty years in the future."""
        self.offset_ns += 10**18
        self.drive(2)
        self.offset_ns -= 10**18

    def rival(self) -> None:
        """Another node publishes the transform of this node."""
        assert self.node._listener is not None
        stamp = START + self.index * STEP_NS
        transform = transform_message(np.eye(4), stamp, "odom", FRAME_ID)
        self.node._listener._receive(TFMessage(transforms=[transform]), static=False)
        self.drive(1)

    def joint(self) -> None:
        """The camera is mounted on a joint, whose newest transform is ten seconds old."""
        assert self.node._listener is not None
        stamp = START + self.index * STEP_NS + self.offset_ns - 10_000_000_000
        transform = transform_message(np.eye(4), stamp, "base_link", FRAME_ID)
        self.node._listener._receive(TFMessage(transforms=[transform]), static=False)
        self.drive(1)

    def jitter(self) -> None:
        """A stamp earlier than the previous one."""
        image = self.next_image()
        self.offset_ns -= 3 * STEP_NS
        self.send(image)
        self.offset_ns += 3 * STEP_NS


@contextmanager
def faulty_drive(monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> Iterator[FaultyDrive]:
    """Yield a drive after twenty frames without a fault, with diagnostics OK."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "monotonic_ns", lambda: round(clock[0] * 1e9))
    context = rclpy.Context()
    rclpy.init(context=context)
    drive = FaultyDrive(clock, context, **parameters)
    try:
        drive.drive(20)
        yield drive
    finally:
        drive.node.release()
        drive.node.destroy_node()
        rclpy.shutdown(context=context)
