"""Odometry figures: by hand, against plain loops over the published procedures, evo, and published results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_paths import drive, pose, rotation, straight

from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics import (
    KITTI_LENGTHS,
    ODOMETRY_KEYS,
    Trajectory,
    evaluate_odometry,
    make_trajectory,
    mean_by,
    rebase,
    relative_errors,
    segment_errors,
    snippet_ate,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(21)


def indexed(poses, first=0, name="path") -> Trajectory:
    return make_trajectory(np.arange(len(poses)) + first, poses, stamped=False, name=name)


def test_a_tenth_too_short_is_ten_percent():
    result = evaluate_odometry(indexed(straight(400, 1.0)), indexed(straight(400, 0.9)))
    # A segment ends at the first frame more than its length away, so 100 m are 101 frames of 1 m.
    expected = np.mean([0.1 * (s + 1) / s for s in KITTI_LENGTHS[:3] for _ in range(0, 399 - int(s), 10)])
    assert result.t_err_percent == pytest.approx(100 * expected)
    assert result.r_err_deg_per_100m == 0
    assert result.segments == sum(len(range(0, 399 - int(s), 10)) for s in KITTI_LENGTHS[:3])
    assert result.rpe_m == pytest.approx(0.1) and result.length_m == pytest.approx(399)
    assert result.ate_m == pytest.approx(0.1 * np.sqrt(np.mean(np.arange(400) ** 2)))
    assert evaluate_odometry(indexed(straight(400, 1.0)), indexed(straight(400, 0.9)), "scale").ate_m < 1e-9


def test_a_constant_turn_by_hand():
    truth = straight(300, 1.0)
    turn = pose(rotation(np.array([0.0, 1.0, 0.0]), np.radians(0.05)), np.array([0.0, 0.0, 1.0]))
    estimate = np.array([np.linalg.matrix_power(turn, i) for i in range(300)])
    result = evaluate_odometry(indexed(truth), indexed(estimate), lengths=(50.0,))
    assert result.rpe_deg == pytest.approx(0.05, abs=1e-6)
    assert result.r_err_deg_per_100m == pytest.approx(0.05 * 51 / 50 * 100, rel=1e-6)


def test_segments_equal_a_plain_loop(rng):
    truth, estimate = drive(260, rng), drive(260, rng, noise=1.0)
    lengths = (20.0, 50.0, 120.0)
    expected = []
    distance = np.r_[0, np.cumsum(np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1))]
    for first in range(0, 260, 10):
        for length in lengths:
            beyond = [i for i in range(first, 260) if distance[i] > distance[first] + length]
            if not beyond:
                continue
            delta_gt = np.linalg.inv(truth[first]) @ truth[beyond[0]]
            delta = np.linalg.inv(estimate[first]) @ estimate[beyond[0]]
            error = np.linalg.inv(delta) @ delta_gt
            angle = np.arccos((np.trace(error[:3, :3]) - 1) / 2)
            speed = length / (0.1 * (beyond[0] - first + 1))
            expected.append((first, np.linalg.norm(error[:3, 3]) / length, angle / length, length, speed))
    segments = segment_errors(truth, estimate, lengths)
    found = np.stack([segments.first, segments.t_err, segments.r_err, segments.length_m, segments.speed], axis=1)
    assert np.allclose(found, expected, rtol=1e-9)


def test_five_frame_ate_equals_the_references_loop(rng):
    truth, estimate = drive(40, rng), drive(40, rng, step_m=0.1, noise=1.0)

    def chain(local):
        world, points = np.eye(4), [np.zeros(3)]
        for motion in local:
            world = world @ motion
            points.append(world[:3, 3])
        return np.array(points)

    local_gt = [np.linalg.inv(np.linalg.inv(truth[i - 1]) @ truth[i]) for i in range(1, 40)]
    local_est = [np.linalg.inv(np.linalg.inv(estimate[i - 1]) @ estimate[i]) for i in range(1, 40)]
    expected = []
    for i in range(39):
        gt, est = chain(local_gt[i : i + 4]), chain(local_est[i : i + 4])
        scale = (gt * est).sum() / (est**2).sum()
        expected.append(np.sqrt(((est * scale - gt) ** 2).sum()) / len(gt))
    assert np.allclose(snippet_ate(truth, estimate), expected)


def test_five_frame_ate_of_a_standing_estimate_is_the_truths_own_motion():
    ates = snippet_ate(straight(8, 1.0), np.tile(np.eye(4), (8, 1, 1)))
    assert ates[0] == pytest.approx(np.sqrt(1 + 4 + 9 + 16) / 5) and np.isfinite(ates).all()


def test_frames_are_those_of_the_estimate_and_segments_start_at_numbered_frames(rng):
    truth = drive(300, rng)
    estimate = drive(300, rng, noise=0.5)
    part = make_trajectory(np.arange(3, 290), estimate[3:290], stamped=False)
    result = evaluate_odometry(indexed(truth), part, lengths=(50.0,))
    assert result.frames == 287
    assert np.allclose(result.truth[0], np.eye(4)) and np.allclose(result.estimate[0], np.eye(4))
    assert result.segment_errors.first[0] == 7, "frame 10 is the first numbered start, 7 poses in"
    assert result.length_m == pytest.approx(np.linalg.norm(np.diff(truth[3:290, :3, 3], axis=0), axis=1).sum())


def test_the_world_frame_of_neither_side_matters(rng):
    truth, estimate = drive(120, rng), drive(120, rng, noise=0.4)
    elsewhere = pose(rotation(np.array([1.0, 1.0, 0.0]), 1.1), np.array([50.0, -3.0, 8.0]))
    for how in ("none", "scale", "7dof"):
        here = evaluate_odometry(indexed(truth), indexed(estimate), how, (20.0,)).figures()
        there = evaluate_odometry(indexed(elsewhere @ truth), indexed(estimate), how, (20.0,)).figures()
        assert here == pytest.approx(there, abs=2e-6)


def test_short_paths_have_no_segments_and_say_so():
    result = evaluate_odometry(indexed(straight(20, 1.0)), indexed(straight(20, 1.1)))
    assert result.t_err_percent is None and result.r_err_deg_per_100m is None and result.segments == 0
    assert any("--lengths" in note for note in result.notes)
    assert list(result.figures()) == list(ODOMETRY_KEYS)


def test_a_path_of_no_length_has_figures_without_a_scale():
    point = indexed(np.tile(np.eye(4), (10, 1, 1)))
    result = evaluate_odometry(point, point)
    assert (result.ate_m, result.rpe_m, result.length_m, result.ate5_mean_m) == (0, 0, 0, 0)
    with pytest.raises(EvaluationError, match="does not move"):
        evaluate_odometry(point, point, "scale")


def test_an_estimate_that_runs_backwards_is_told():
    result = evaluate_odometry(indexed(straight(30, 1.0)), indexed(straight(30, -1.0)), "scale")
    assert result.scale == pytest.approx(-1) and any("against the truth" in note for note in result.notes)


def test_stamps_are_associated_and_leftovers_reported(rng):
    poses = drive(50, rng)
    truth = make_trajectory(np.arange(50) * 100, poses, stamped=True, name="gt")
    estimate = make_trajectory(np.arange(10, 60, 2) * 100 + 3, poses[np.arange(10, 60, 2) % 50], True, "est")
    result = evaluate_odometry(truth, estimate, max_difference_ns=5)
    assert result.frames == 20 and result.unmatched == 5 and result.ate_m < 1e-9
    assert any("5 of 25 poses have no truth" in note for note in result.notes)


def test_speed_comes_from_stamps():
    truth = make_trajectory(np.arange(100) * 50_000_000, straight(100, 1.0), stamped=True)
    segments = evaluate_odometry(truth, truth, lengths=(20.0,)).segment_errors
    assert np.allclose(segments.speed, 20 / (21 * 0.05))


def test_speed_bins_overlap_as_in_draw_odometry():
    segments = segment_errors(straight(200, 1.0), straight(200, 0.9), (50.0,))  # 50 m in 5.2 s: 9.6 m/s
    curve = mean_by(segments.speed, segments, [6.0, 8.0, 10.0, 12.0], 2.0)
    assert [point[0] for point in curve] == [8.0, 10.0]
    assert curve[0][1] == pytest.approx(100 * 0.1 * 51 / 50)


@pytest.mark.parametrize(
    ("truth", "estimate", "words"),
    [
        (indexed(straight(5, 1.0)), indexed(straight(5, 1.0), first=100), "0 frames in common"),
        (indexed(straight(5, 1.0)), indexed(straight(1, 1.0)), "1 frames in common"),
        (indexed(straight(5, 1.0)), make_trajectory([0, 1], straight(2, 1.0), True), "frame numbers"),
    ],
)
def test_what_cannot_be_compared_is_refused(truth, estimate, words):
    with pytest.raises(EvaluationError, match=words):
        evaluate_odometry(truth, estimate)


def test_lengths_must_be_lengths():
    for lengths in ((), (0.0,), (float("nan"),)):
        with pytest.raises(EvaluationError, match="segment lengths"):
            evaluate_odometry(indexed(straight(5, 1.0)), indexed(straight(5, 1.0)), lengths=lengths)


# The figures printed by the public KITTI odometry evaluation, with their digits.
FIGURES = ("t_err_percent", "r_err_deg_per_100m", "ate_m", "rpe_m", "rpe_deg")
KNOWN = [
    ("09", "scale", ("2.866", "0.249", "10.639", "0.3409", "0.0634")),
    ("10", "scale", ("3.902", "0.305", "12.935", "0.0455", "0.0663")),
    ("09", "7dof", ("2.884", "0.249", "8.387")),
    ("10", "7dof", ("3.298", "0.305", "6.630")),
]


@pytest.mark.parametrize(("sequence", "how", "known"), KNOWN)
def test_published_results_to_the_last_digit(test_data: Path, sequence, how, known):
    truth = np.loadtxt(test_data / f"trajectories/ground_truth/{sequence}.txt").reshape(-1, 3, 4)
    lines = np.loadtxt(test_data / f"trajectories/example_0/{sequence}.txt")
    estimate = make_trajectory(lines[:, 0], lines[:, 1:].reshape(-1, 3, 4), stamped=False)
    figures = evaluate_odometry(indexed(truth), estimate, how).figures()
    printed = [f"{figures[key]:.{len(value.split('.')[1])}f}" for key, value in zip(FIGURES, known, strict=False)]
    assert printed == list(known)


@pytest.mark.parametrize("how", ["none", "6dof", "7dof", "umeyama_scale"])
def test_evo_agrees(rng, how):
    metrics = pytest.importorskip("evo.core.metrics")
    trajectory = pytest.importorskip("evo.core.trajectory")
    truth, estimate = drive(150, rng), drive(150, rng, step_m=0.5, noise=1.0)
    estimate[:, :3, 3] += rng.normal(size=(150, 3)) * 0.05
    estimate = rebase(estimate)
    result = evaluate_odometry(indexed(truth), indexed(estimate), how)

    reference = trajectory.PosePath3D(poses_se3=list(truth))
    other = trajectory.PosePath3D(poses_se3=[p.copy() for p in estimate])
    if how != "none":
        other.align(reference, correct_scale=how == "7dof", correct_only_scale=how == "umeyama_scale")
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((reference, other))
    assert result.ate_m == pytest.approx(ape.get_all_statistics()["rmse"], abs=1e-6)
    for relation, key in (("translation_part", "rpe_m"), ("rotation_angle_deg", "rpe_deg")):
        rpe = metrics.RPE(getattr(metrics.PoseRelation, relation), delta=1, delta_unit=metrics.Unit.frames)
        rpe.process_data((reference, other))
        assert getattr(result, key) == pytest.approx(rpe.get_all_statistics()["mean"], abs=1e-6)
    rpe_m, _ = relative_errors(result.truth, result.estimate)
    rpe = metrics.RPE(metrics.PoseRelation.translation_part, delta=1, delta_unit=metrics.Unit.frames)
    rpe.process_data((reference, other))
    assert np.sqrt(np.mean(rpe_m**2)) == pytest.approx(rpe.get_all_statistics()["rmse"], abs=1e-6)
