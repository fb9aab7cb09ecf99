"""A fake estimator with a depth ramp and a constant motion forward, so that messages can be checked exactly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from featdepth_ros.errors import CalibrationError
from featdepth_ros.inference.odometry import Odometry
from featdepth_ros.inference.rig.shot import Shot
from featdepth_ros.inference.types import Estimate, Motion, MotionState, ScaleState
from featdepth_ros.inference.window.types import ScaleOrigin, WindowPoints, WindowResult, WindowState
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.ros.loading import LoadedModel

SIZE = (24, 32)  # (height, width) of the fake network


#: Points of the fake window, in pixels of the delivered 64x48 image; the last point has no parallax yet.
POINTS = WindowPoints(
    ids=np.arange(3),
    pixels=np.array([[12.5, 10.5], [40.5, 20.5], [52.5, 36.5]]),
    depth=np.array([2.0, 40.0, 10.0]),
    log_variance=np.full(3, 0.01),
    information=np.array([100.0, 100.0, 0.0]),
)


@dataclass
class FakeEstimator:
    """A fake estimator that moves 0.1 m forward (optical +z) and turns 0.01 rad to the left with every pair."""

    scale: ScaleState = field(default_factory=lambda: ScaleState("metric", "model", 1.0, 0.0))
    sigma: bool = True
    previous: int | None = None
    resets: int = 0
    steps: int = 0
    cameras: list[Any] = field(default_factory=list)
    depth_source: str = "fused"
    lost_at: tuple[int, ...] = ()
    gate: threading.Event | None = None
    delay_s: float = 0.0

    def warm_up(self, delivered_size: tuple[int, int], camera: Any) -> None:
        """Do nothing."""

    def reset(self) -> None:
        """Discard the earlier frame."""
        self.resets += 1
        self.previous = None

    def step(self, image: np.ndarray, camera: Any, stamp_ns: int) -> Estimate:
        """Return the ramp: 1 m at the top row to 100 m at the bottom row, with one unreliable pixel."""
        if self.gate is not None:
            self.gate.wait(5.0)
        time.sleep(self.delay_s)
        height, width = image.shape[:2]
        if camera is not None and camera.delivered_size != (width, height):
            raise CalibrationError(f"image is {width}x{height}; camera_info says {camera.delivered_size}")
        self.steps += 1
        self.cameras.append(camera)
        h, w = SIZE
        depth = np.repeat(np.geomspace(0.05, 100.0, h, dtype=np.float32)[:, None], w, axis=1)
        valid = (depth >= 0.1) & (depth <= 80.0)
        valid[10, 5] = False
        inside = np.ones((h, w), bool)
        inside[12, 0] = False
        paired = self.previous is not None and camera is not None
        T = np.eye(4)
        if paired:
            T[2, 3] = 0.1
            T[:3, :3] = cv2.Rodrigues(np.array([0.0, -0.01, 0.0]))[0]
        motion = Motion(
            MotionState.TRACKED if paired else MotionState.FIRST if camera is not None else MotionState.UNAVAILABLE,
            T,
            stamp_ns - self.previous if self.previous is not None else 0,
            np.eye(6) * 1e-4,
        )
        if self.steps in self.lost_at:
            motion = Motion(MotionState.LOST, np.eye(4), motion.dt_ns, np.eye(6) * 900.0)
        self.previous = stamp_ns
        window = None
        if camera is not None and motion.state is not MotionState.STANDING:
            state, covariance = WindowState.TRACKED if paired else WindowState.FIRST, motion.covariance
            kind = ScaleOrigin.NETWORK
            window = WindowResult(state, T, covariance, 0.4, 300, False, 1.0, 0.01, kind, POINTS, camera)
        out_camera = None
        if camera is not None:
            plain = type(camera)(width, height, camera.fx, camera.fy, camera.cx, camera.cy)
            out_camera = plain.resized(w, h)
        return Estimate(
            stamp_ns=stamp_ns,
            image=cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA),
            camera=out_camera,
            depth=depth,
            valid=valid,
            in_image=inside,
            min_depth=0.1,
            max_depth=80.0,
            sigma=np.full((h, w), 0.25, np.float32) if self.sigma else None,
            motion=motion,
            scale=self.scale,
            stage_ms={"depth": 1.0},
            window=window,
        )


class FakeRig:
    """A rig of independent fake estimators; the first camera is the odometry camera."""

    mounted_cameras = frozenset[str]()
    notes: tuple[str, ...] = ()
    backend = "torch"

    def __init__(self, cameras: dict[str, Any]) -> None:
        self.cameras = cameras
        self.odometry_camera = next(iter(cameras))
        self.batches: list[list[str]] = []

    def mount(self, camera: str, T_odometry_camera: Any, *, moves: bool = False) -> None:
        """Do nothing."""

    def depth_source(self, camera: str) -> str:
        """Return the depth source of the camera's estimator."""
        return str(self.cameras[camera].depth_source)

    def reset(self, camera: str) -> None:
        """Discard the earlier frame of a camera."""
        self.cameras[camera].reset()

    def steps(self, shots: Sequence[Shot]) -> Iterator[tuple[Shot, Estimate | Exception]]:
        """Yield the estimates one by one."""
        self.batches.append([shot.camera for shot in shots])
        for shot in sorted(shots, key=lambda shot: shot.camera != self.odometry_camera):
            try:
                yield shot, self.cameras[shot.camera].step(shot.image, shot.calibration, shot.stamp_ns)
            except Exception as error:  # noqa: BLE001 - as in the real rig
                yield shot, error


def fake_loaded_model(estimator: Any, **others: Any) -> LoadedModel:
    """Return a loaded model with the estimator of a single camera, or with one estimator for each of several cameras.

    Args:
        estimator: estimator of the single camera; None: there are several cameras.
        others: estimators by the name of their camera.
    """
    rig = FakeRig(others or {"": estimator})
    return LoadedModel(rig, Odometry, ModelInfo(name="fake", architecture="ramp", licence="none"), "cpu")
