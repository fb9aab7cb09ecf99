"""The base's pose through late, corrected, moving and unknown mountings, and from a pose that a user gives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from fake_model import FakeEstimator, fake_loaded_model

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.odometry import OdometryState
from featdepth_ros.inference.types import Estimate, Motion, MotionState
from featdepth_ros.ros.frames.base import BaseFrame, GivenPose
from featdepth_ros.ros.frames.tree import Edge, FrameTree

CAMERA = CameraModel(64, 48, 50.0, 50.0, 31.5, 23.5)
PICTURE = np.zeros((48, 64, 3), np.uint8)
STEP = 100_000_000
#: Looks forward, half a metre ahead of the base.
MOUNT = se3.make(se3.T_BODY_OPTICAL[:3, :3], np.array([0.5, 0.0, 1.0]))


def settings(**changes: Any) -> Any:
    return SimpleNamespace(**{"base_frame": "base_link", "odom_frame": "odom", "extrinsics_timeout_s": 0.0, **changes})


class Drive:
    """Frames of the fake estimator, or of motions of the base that the test gives."""

    def __init__(self) -> None:
        self.tree, self.log, self.fake = FrameTree(), [], FakeEstimator()
        self.base = BaseFrame(fake_loaded_model(self.fake), self.tree, self.log.append)
        self.stamp = 0

    def mount(self, T: np.ndarray, static: bool = True, stamp: int = 0) -> None:
        self.tree.set("optical", Edge("base_link", T, static, stamp))

    def estimate(self, T: np.ndarray | None = None, state: MotionState = MotionState.TRACKED) -> Estimate:
        self.stamp += STEP
        made = self.fake.step(PICTURE, CAMERA, self.stamp)
        if T is None:
            return made
        motion = Motion(state, T, STEP, np.eye(6) * 1e-4)
        return type(made)(**{**vars(made), "motion": motion})

    def go(self, T: np.ndarray | None = None, state: MotionState = MotionState.TRACKED) -> OdometryState | None:
        return self.base.update(self.estimate(T, state), "optical", settings())


def test_a_correction_moves_the_mounting_and_not_the_robot() -> None:
    drive = Drive()
    drive.mount(MOUNT)
    first = [drive.go() for _ in range(3)][-1]
    shifted = MOUNT.copy()
    shifted[:3, :3] = MOUNT[:3, :3] @ cv2.Rodrigues(np.array([0.0, 0.2, 0.0]))[0]
    drive.mount(shifted)
    second = drive.go(np.eye(4))
    assert first is not None and second is not None
    np.testing.assert_allclose(second.T_odom_base, first.T_odom_base, atol=1e-12)
    forward = np.eye(4)
    forward[2, 3] = 1.0
    third = drive.go(forward)
    assert third is not None
    moved = se3.inverse(second.T_odom_base) @ third.T_odom_base
    np.testing.assert_allclose(moved[:3, 3], shifted[:3, 2], atol=1e-9)  # along the axis the camera really has
    assert any("was corrected" in line for line in drive.log)


def test_a_late_mounting_starts_the_base_anew() -> None:
    drive = Drive()
    state = [drive.go() for _ in range(2)][-1]
    assert state is not None and drive.base.extrinsics is not None and drive.base.extrinsics.base == "optical"
    drive.mount(MOUNT)
    state = drive.go()
    assert state is not None and drive.base.extrinsics.base == "base_link"
    assert state.T_odom_base[0, 3] == pytest.approx(0.1, abs=0.01)  # forward is x of base_link


def panned(angle: float) -> np.ndarray:
    turn = np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.0, angle]))[0]
    return turn @ MOUNT


def test_a_head_that_pans_leaves_the_robot_where_it_is() -> None:
    drive = Drive()
    drive.mount(panned(0.0), static=False, stamp=STEP)
    assert drive.go() is not None
    for step in range(1, 6):
        drive.mount(panned(0.05 * step), static=False, stamp=(step + 1) * STEP)
        seen = se3.inverse(panned(0.05 * (step - 1))) @ panned(0.05 * step)  # what a still robot's camera sees
        state = drive.go(seen)
        assert state is not None
        np.testing.assert_allclose(state.T_odom_base, np.eye(4), atol=1e-9)
        np.testing.assert_allclose(state.angular, 0.0, atol=1e-9)


def test_motion_is_gathered_while_the_head_is_not_known() -> None:
    drive, ahead = Drive(), np.eye(4)
    ahead[2, 3] = 1.0
    drive.mount(panned(0.0), static=False, stamp=0)
    drive.mount(panned(0.1), static=False, stamp=STEP)
    assert drive.go() is not None
    assert drive.go(ahead) is None and "base_link -> optical moves" in drive.base.missing
    assert drive.go(ahead) is None
    drive.mount(panned(0.1), static=False, stamp=4 * STEP)
    state = drive.go(ahead)
    assert state is not None and not drive.base.missing
    np.testing.assert_allclose(state.T_odom_base[:3, 3], 3.0 * panned(0.1)[:3, 2], atol=1e-9)
    np.testing.assert_allclose(state.linear, 10.0 * panned(0.1)[:3, 2], atol=1e-9)


def test_what_was_lost_while_the_head_was_not_known_stays_lost() -> None:
    drive = Drive()
    drive.mount(panned(0.0), static=False, stamp=0)
    drive.mount(panned(0.1), static=False, stamp=STEP)
    assert drive.go() is not None
    assert drive.go(np.eye(4), MotionState.LOST) is None
    drive.mount(panned(0.1), static=False, stamp=3 * STEP)
    ahead = np.eye(4)
    ahead[2, 3] = 1.0
    state = drive.go(ahead)
    assert state is not None
    np.testing.assert_allclose(state.T_odom_base, np.eye(4), atol=1e-9)
    assert state.twist_covariance[0, 0] >= 1e4


@pytest.mark.parametrize("mounted", [True, False])
def test_a_given_pose_is_where_the_path_goes_on(mounted: bool) -> None:
    drive = Drive()
    if mounted:
        drive.mount(MOUNT)
    for _ in range(3):
        drive.go()
    turn = np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.array([0.0, 0.0, np.pi / 2]))[0]
    turn[:3, 3] = (10.0, 20.0, 0.0)
    wanted = turn if mounted else turn @ se3.T_BODY_OPTICAL
    drive.base.set_pose(GivenPose(wanted, np.diag([0.25, 0.25, 0.0, 0.0, 0.0, 0.01])))
    still = drive.go(np.eye(4))
    assert still is not None
    np.testing.assert_allclose(still.T_odom_base, wanted, atol=1e-9)
    ahead = np.eye(4)
    ahead[2, 3] = 2.0
    state = drive.go(ahead)
    assert state is not None
    np.testing.assert_allclose(state.T_odom_base[:3, 3], [10.0, 22.0, 0.0], atol=1e-9)  # the head points along y
    np.testing.assert_allclose(state.linear, np.array([1.0, 0, 0] if mounted else [0, 0, 1.0]) * 20.0, atol=1e-9)
    # The doubt about the given heading turns the two metres that followed: sideways, which is along x here.
    assert state.pose_covariance[0, 0] == pytest.approx(0.25 + 4 * 0.01, rel=0.01)
    assert state.pose_covariance[1, 1] == pytest.approx(0.25, rel=0.01)
    drive.base.reset()
    reset = drive.go(np.eye(4))
    assert reset is not None
    np.testing.assert_allclose(reset.T_odom_base[:3, 3], 0.0, atol=1e-12)
