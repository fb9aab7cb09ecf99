"""Checks, association and alignment of trajectories."""

from __future__ import annotations

import numpy as np
import pytest
from made_paths import drive, pose, rotation, straight

from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics import ALIGNMENTS, align, associate, check_poses, make_trajectory, rebase, umeyama
from featdepth_ros.metrics.trajectory import turned_axes_deg


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def moved(poses, scale, transform):
    changed = poses.copy()
    changed[:, :3, 3] *= scale
    return transform @ changed


def test_umeyama_finds_the_similarity_it_was_given(rng):
    source = rng.normal(size=(50, 3))
    R, t = rotation(np.array([1.0, 2.0, -0.5]), 2.5), np.array([3.0, -1.0, 0.2])
    found_R, found_t, scale = umeyama(source, 0.37 * source @ R.T + t)
    assert np.allclose(found_R, R) and np.allclose(found_t, t) and scale == pytest.approx(0.37)
    rigid_R, _, one = umeyama(source, source @ R.T + t, with_scale=False)
    assert np.allclose(rigid_R, R) and one == 1


def test_umeyama_never_mirrors(rng):
    source = rng.normal(size=(20, 3))
    R, _, _ = umeyama(source, source * [1, 1, -1])
    assert np.linalg.det(R) == pytest.approx(1)


@pytest.mark.parametrize("frames", [straight(40, 1.0), np.tile(np.eye(4), (5, 1, 1))], ids=["line", "point"])
def test_rigid_alignment_of_degenerate_paths_still_fits(frames):
    turned = moved(frames, 1.0, pose(rotation(np.array([0.0, 1.0, 0.3]), 0.7), np.array([1.0, 2.0, 3.0])))
    aligned, _ = align(frames, turned, "6dof")
    assert np.allclose(aligned[:, :3, 3], frames[:, :3, 3])


def test_every_alignment_by_its_definition(rng):
    truth = drive(80, rng)
    estimate = rebase(drive(80, rng, step_m=0.25, noise=0.5))
    gt, est = truth[:, :3, 3], estimate[:, :3, 3]
    R, t, s = umeyama(est, gt)
    R6, t6, _ = umeyama(est, gt, with_scale=False)
    expected = {
        "none": (est, 1.0),
        "scale": (est * (gt * est).sum() / (est * est).sum(), (gt * est).sum() / (est * est).sum()),
        "6dof": (est @ R6.T + t6, 1.0),
        "7dof": (s * est @ R.T + t, s),
        "umeyama_scale": (s * est, s),
    }
    assert set(expected) == set(ALIGNMENTS)
    for how, (positions, scale) in expected.items():
        aligned, factor = align(truth, estimate, how)
        assert np.allclose(aligned[:, :3, 3], positions), how
        assert factor == pytest.approx(scale), how
        rotated = R @ estimate[:, :3, :3] if how == "7dof" else estimate[:, :3, :3]
        assert how == "6dof" or np.allclose(aligned[:, :3, :3], rotated), how
    assert np.array_equal(estimate[:, :3, 3], est), "the input is left alone"


@pytest.mark.parametrize("how", ["scale", "7dof", "umeyama_scale"])
def test_no_scale_without_motion(how):
    path, point = straight(10, 1.0), np.tile(np.eye(4), (10, 1, 1))
    with pytest.raises(EvaluationError, match="estimate does not move"):
        align(path, point, how)
    with pytest.raises(EvaluationError, match="ground truth does not move"):
        align(point, path, how)


def test_unknown_alignment():
    with pytest.raises(EvaluationError, match="sim3"):
        align(straight(3, 1.0), straight(3, 1.0), "sim3")


def test_association_takes_each_pose_once_and_the_nearest():
    truth = np.array([0, 100, 200, 300])
    estimate = np.array([4, 96, 104, 260, 500])
    of_truth, of_estimate = associate(truth, estimate, 50)
    assert (truth[of_truth].tolist(), estimate[of_estimate].tolist()) == ([0, 100, 300], [4, 96, 260])
    exact = associate(truth, np.array([100, 250, 300]), 0)
    assert (exact[0].tolist(), exact[1].tolist()) == ([1, 3], [0, 2])


def test_association_of_nothing():
    assert [x.size for x in associate([], [1, 2], 10)] == [0, 0]
    assert [x.size for x in associate([1, 2], [100], 10)] == [0, 0]


def test_unsorted_and_repeated_keys_are_sorted_and_the_first_counts():
    poses = straight(4, 1.0)
    trajectory = make_trajectory([30, 10, 10, 20], poses, stamped=True)
    assert trajectory.keys.tolist() == [10, 20, 30] and trajectory.duplicates == 1
    assert trajectory.positions[:, 2].tolist() == [1.0, 3.0, 0.0]


def test_bad_poses_are_named():
    poses = straight(4, 1.0)
    poses[2, 0, 3] = np.nan
    with pytest.raises(EvaluationError, match="run: 1 of 4 poses hold NaN or infinity, first pose 2"):
        check_poses(poses, "run")
    scaled = straight(4, 1.0)
    scaled[1, :3, :3] *= 1.1
    with pytest.raises(EvaluationError, match="1 of 4 poses are not rigid, first pose 1"):
        check_poses(scaled)
    mirrored = straight(3, 1.0)
    mirrored[:, 0, 0] = -1
    with pytest.raises(EvaluationError, match="3 of 3 poses are not rigid"):
        check_poses(mirrored)
    with pytest.raises(EvaluationError, match="shape"):
        check_poses(np.eye(4))


def test_matrices_printed_with_seven_digits_pass():
    rounded = np.round(drive(30, np.random.default_rng(0)), 6)
    assert len(check_poses(rounded[:, :3])) == 30


def test_empty_trajectories_are_refused():
    with pytest.raises(EvaluationError, match="no pose"):
        make_trajectory([], np.zeros((0, 4, 4)), stamped=False)
    with pytest.raises(EvaluationError, match="2 stamps for 3 poses"):
        make_trajectory([1, 2], straight(3, 1.0), stamped=True)


def test_other_axes_of_the_moving_frame_are_seen(rng):
    truth = drive(40, rng)
    T_camera_base = np.eye(4)
    T_camera_base[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    for factor in (1.0, 0.3):
        assert turned_axes_deg(truth, moved(truth @ T_camera_base, factor, np.eye(4))) == pytest.approx(90, abs=3)
    assert turned_axes_deg(truth, drive(40, rng, noise=2.0)) is None
    assert turned_axes_deg(truth, truth @ pose(rotation(np.array([1.0, 0, 0]), 0.3), np.zeros(3))) is None
    assert turned_axes_deg(truth, np.cumsum(rng.normal(size=(40, 1, 1)) * np.eye(4), axis=0) + np.eye(4)) is None
    assert turned_axes_deg(np.tile(np.eye(4), (9, 1, 1)), truth[:9]) is None  # who stands has no direction
