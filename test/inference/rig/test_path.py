"""Where a camera was between its frames, shortly after them, and where nobody knows."""

from __future__ import annotations

import numpy as np

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.rig.path import MotionPath
from featdepth_ros.inference.types import Motion, MotionState

STEP_NS = 100_000_000
FORWARD = se3.make(se3.rotation_from_vector((0.0, 0.02, 0.0)), (0.0, 0.0, 0.5))


def motion(state: MotionState, T: np.ndarray | None = None) -> Motion:
    return Motion(state, np.eye(4) if T is None else T, STEP_NS, np.eye(6) * 1e-4)


def driven(frames: int) -> MotionPath:
    path = MotionPath()
    path.append(0, motion(MotionState.FIRST))
    for index in range(1, frames):
        path.append(index * STEP_NS, motion(MotionState.TRACKED, FORWARD))
    return path


def test_frames_lie_on_the_path_and_stamps_between_them_on_the_way() -> None:
    path = driven(4)
    third = path.at(2 * STEP_NS)
    assert third is not None
    np.testing.assert_allclose(third.T_path_camera, FORWARD @ FORWARD, atol=1e-12)
    between = path.at(STEP_NS + STEP_NS // 4)
    assert between is not None and between.stretch == third.stretch
    turned = se3.vector_from_rotation(between.T_path_camera[:3, :3])
    np.testing.assert_allclose(turned, (0.0, 0.025, 0.0), atol=1e-9)
    np.testing.assert_allclose(between.T_path_camera[2, 3], 0.5 + 0.125, atol=1e-3)


def test_the_path_is_carried_on_for_two_frames_and_no_longer() -> None:
    path = driven(4)
    ahead = path.at(4 * STEP_NS)
    assert ahead is not None
    np.testing.assert_allclose(ahead.T_path_camera, np.linalg.matrix_power(FORWARD, 4), atol=1e-9)
    assert path.at(5 * STEP_NS) is not None and path.at(5 * STEP_NS + 1) is None
    assert path.at(-1) is None


def test_a_first_frame_alone_is_known_at_its_own_stamp_only() -> None:
    path = driven(1)
    assert path.at(0) is not None and path.at(1) is None
    assert MotionPath().at(0) is None


def test_what_was_not_measured_begins_a_new_stretch() -> None:
    for state in (MotionState.LOST, MotionState.GAP, MotionState.FIRST, MotionState.UNAVAILABLE):
        path = driven(3)
        before = path.at(2 * STEP_NS)
        path.append(3 * STEP_NS, motion(state))
        after = path.at(3 * STEP_NS)
        assert before is not None and after is not None and after.stretch != before.stretch
        assert path.at(2 * STEP_NS) is None, "older poses are not connected to the new ones"


def test_a_motion_that_spans_frames_without_one_counts_from_where_it_began() -> None:
    path = driven(3)
    path.append(3 * STEP_NS, motion(MotionState.BLIND))
    path.append(4 * STEP_NS, Motion(MotionState.TRACKED, FORWARD, 2 * STEP_NS, np.eye(6) * 1e-4))
    began, half, now = (path.at(stamp) for stamp in (2 * STEP_NS, 3 * STEP_NS, 4 * STEP_NS))
    assert began is not None and half is not None and now is not None
    np.testing.assert_allclose(now.T_path_camera, began.T_path_camera @ FORWARD, atol=1e-12)
    np.testing.assert_allclose(half.T_path_camera @ half.T_path_camera, FORWARD, atol=1e-9)


def test_standing_is_exactly_the_same_pose() -> None:
    path = driven(3)
    path.append(3 * STEP_NS, motion(MotionState.STANDING))
    poses = [path.at(stamp) for stamp in (2 * STEP_NS, 2 * STEP_NS + 12_345_678, 3 * STEP_NS, 4 * STEP_NS)]
    assert all(pose is not None and np.array_equal(pose.T_path_camera, poses[0].T_path_camera) for pose in poses)


def test_a_longer_motion_is_less_certain() -> None:
    path = driven(3)
    np.testing.assert_allclose(path.covariance(2 * STEP_NS), 2e-4 * np.eye(6))
    np.testing.assert_allclose(path.covariance(STEP_NS // 2), 1e-4 * np.eye(6))
