"""Figures of uncertainties against known answers: sparsification, shares within sigma, NEES."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from made_paths import drive, pose, rotation

from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics import (
    DepthProtocol,
    area_under_sparsification_error,
    evaluate_covariances,
    evaluate_image,
    evaluate_odometry,
    make_trajectory,
    resize_inverse_depth,
    resize_sigma,
    sigma_figures,
    summarise_depth,
)

STD = np.array([0.03, 0.02, 0.05, 0.002, 0.004, 0.001])


def test_shares_within_sigma_by_hand():
    # Errors 0, 1, 2 and 3 with a sigma of 1: two within one, three within two.
    figures = sigma_figures([10.0] * 4, [10.0, 11.0, 12.0, 7.0], [1.0] * 4)
    assert (figures["within_1_sigma"], figures["within_2_sigma"]) == (0.5, 0.75)


def test_area_of_two_halves_by_hand():
    # 200 pixels, half with error 0, half with 1. Own order: the mean falls as (50 - k) / (100 - k) over k hundredths
    # taken. The opposite order keeps all the ones: 50 / (100 - k) until the zeros are gone, then 1.
    errors = np.repeat([0.0, 1.0], 100)
    k = np.arange(100)
    own = np.maximum(50 - k, 0) / (100 - k)
    opposite = np.minimum(50 / (100 - k), 1)
    assert area_under_sparsification_error(errors, errors) == 0
    assert area_under_sparsification_error(errors, -errors) == pytest.approx((opposite - own).mean() / 0.5)
    # One value for all is no order: the mean stays what it is, whatever order the pixels stand in.
    for shuffled in (errors, errors[::-1], np.random.default_rng(1).permutation(errors)):
        assert area_under_sparsification_error(shuffled, np.ones(200)) == pytest.approx((0.5 - own).mean() / 0.5)


def test_area_does_not_depend_on_units_and_grows_with_disorder():
    rng = np.random.default_rng(2)
    errors = np.abs(rng.normal(size=5000))
    noisy = [errors * np.exp(spread * rng.normal(size=5000)) for spread in (0.1, 0.5, 2.0)]
    areas = [area_under_sparsification_error(errors, order) for order in noisy]
    assert 0 < areas[0] < areas[1] < areas[2]
    assert area_under_sparsification_error(7 * errors, 0.1 * noisy[1]) == pytest.approx(areas[1])
    assert area_under_sparsification_error(np.zeros(5), np.arange(5)) == 0


def test_normal_errors_are_within_sigma_as_often_as_they_should_be():
    rng = np.random.default_rng(3)
    truth, sigma = rng.uniform(5, 20, 40000), rng.uniform(0.1, 1, 40000)
    figures = sigma_figures(truth, truth + sigma * rng.normal(size=40000), sigma)
    assert figures["within_1_sigma"] == pytest.approx(0.683, abs=0.01)
    assert figures["within_2_sigma"] == pytest.approx(0.954, abs=0.01)


def test_sigma_is_scaled_and_masked_as_depth():
    truth = np.array([[4.0, 8.0, 12.0, 0.0, 90.0]])
    prediction = np.array([[2.2, 4.0, 6.0, 1.0, 2.0]])  # half the truth, the first a tenth too far
    sigma = np.array([[0.11, 0.09, 0.1, np.nan, np.nan]])  # scaled by two: the first error of 0.4 is beyond one
    image = evaluate_image(prediction, truth, DepthProtocol(scale="median"), sigma=sigma)
    assert image is not None and image.pixels == 3 and image.within_1_sigma == pytest.approx(2 / 3)
    assert image.within_2_sigma == 1 and image.ause == pytest.approx(0)
    unscaled = evaluate_image(prediction, truth, DepthProtocol(scale=2.0), sigma=sigma)
    assert unscaled is not None and unscaled.within_1_sigma == pytest.approx(2 / 3)


def test_sigma_of_another_size_is_resized_with_its_depth():
    depth = np.random.default_rng(4).uniform(2, 20, (6, 8))
    # An error that is common to all of inverse depth stays what it is.
    moved = 1 / (1 / resize_inverse_depth(depth, (13, 21)) + 1e-6)
    expected = (resize_inverse_depth(depth, (13, 21)) - moved) / 1e-6
    np.testing.assert_allclose(resize_sigma(depth**2, depth, (13, 21)), expected, rtol=1e-4)
    np.testing.assert_array_equal(resize_sigma(depth / 7, depth, (6, 8)), depth / 7)
    with pytest.raises(EvaluationError, match="shape"):
        resize_sigma(np.ones((2, 2)), depth, (6, 8))


def test_sigma_that_cannot_be_judged_is_refused_or_skipped():
    truth, prediction = np.full((1, 3), 5.0), np.full((1, 3), 5.5)
    holes = np.array([[1.0, np.nan, 0.1]])
    with pytest.raises(EvaluationError, match="frame7: 1 predictions or their sigma"):
        evaluate_image(prediction, truth, DepthProtocol(), "frame7", holes)
    image = evaluate_image(prediction, truth, DepthProtocol(skip_invalid=True), "frame7", holes)
    assert image is not None and (image.skipped, image.within_1_sigma) == (1, 0.5)
    with pytest.raises(EvaluationError, match="frame7: 3 standard deviations"):
        evaluate_image(prediction, truth, DepthProtocol(), "frame7", -np.ones((1, 3)))


def test_a_summary_has_sigma_figures_only_when_every_image_has():
    with_sigma = evaluate_image(np.full((1, 2), 5.0), np.full((1, 2), 5.5), DepthProtocol(), sigma=np.ones((1, 2)))
    without = evaluate_image(np.full((1, 2), 5.0), np.full((1, 2), 5.5), DepthProtocol())
    assert with_sigma is not None and without is not None
    assert summarise_depth([with_sigma, with_sigma]).within_1_sigma == 1
    assert summarise_depth([with_sigma, without]).within_1_sigma is None


def disturbed(truth: np.ndarray, std: np.ndarray, seed: int) -> np.ndarray:
    """Chain the true motions, each with a normal error in the axes of its earlier pose."""
    rng = np.random.default_rng(seed)
    poses = [np.eye(4)]
    for before, after in pairwise(truth):
        step = np.linalg.inv(before) @ after
        error = rng.normal(size=6) * std
        turned = rotation(error[3:], float(np.linalg.norm(error[3:]))) @ step[:3, :3]
        poses.append(poses[-1] @ pose(turned, step[:3, 3] + error[:3]))
    return np.array(poses)


def test_nees_of_honest_and_of_boastful_covariances():
    truth = drive(600, np.random.default_rng(5))
    estimate = disturbed(truth, STD, 6)
    honest = np.tile(np.diag(STD**2), (600, 1, 1))
    found = evaluate_covariances(truth, estimate, honest)
    assert found.nees == pytest.approx(1, abs=0.08) and found.left_out == 1 and not found.notes
    assert evaluate_covariances(truth, estimate, honest / 9).nees == pytest.approx(9 * found.nees)
    assert evaluate_covariances(truth, truth, honest).nees == pytest.approx(0, abs=1e-9)


def test_nees_of_one_increment_by_hand():
    # The estimate looks right: 2 cm too far along the earlier camera's z, and a turn of 1 mrad about its y too much.
    earlier = pose(rotation(np.array([0, 1.0, 0]), 1.1), np.array([3.0, 0, 2]))
    step = pose(rotation(np.array([0, 1.0, 0]), 0.2), np.array([0.1, 0, 1]))
    guess = pose(rotation(np.array([0, 1.0, 0]), 0.201), np.array([0.1, 0, 1.02]))
    truth, estimate = np.array([earlier, earlier @ step]), np.array([np.eye(4), guess])
    covariance = np.tile(np.diag([1.0, 1, 1e-4, 1, 1e-6, 1]) * 0.01, (2, 1, 1))
    found = evaluate_covariances(truth, estimate, covariance)
    assert found.nees == pytest.approx((0.02**2 / 1e-6 + 0.001**2 / 1e-8) / 6)
    # Correlation counts: an error along the ridge is likelier than one across it.
    along = np.diag([1.0, 1, 1, 1, 1, 1]) * 1e-4
    along[2, 4] = along[4, 2] = -0.9e-4
    across = along * np.where(np.eye(6) > 0, 1, -1)
    assert (
        evaluate_covariances(truth, estimate, np.tile(along, (2, 1, 1))).nees
        != evaluate_covariances(truth, estimate, np.tile(across, (2, 1, 1))).nees
    )


def test_unknown_motions_and_singular_covariances_are_left_out_and_counted():
    truth = drive(50, np.random.default_rng(7))
    estimate = disturbed(truth, STD, 8)
    covariances = np.tile(np.diag(STD**2), (50, 1, 1))
    estimate[20:] = estimate[19] @ np.linalg.inv(estimate[20]) @ estimate[20:]  # a gap: the motion into 20 is unknown
    covariances[20] = np.diag([900.0] * 3 + [1.0] * 3)
    covariances[30] = np.nan
    covariances[40] = 0
    found = evaluate_covariances(truth, estimate, covariances, "run")
    assert found.left_out == 4 and found.nees is not None and found.nees < 2
    assert found.notes == ("run: 1 covariances are zero or singular and do not count in nees",)
    nothing = evaluate_covariances(truth, estimate, covariances * 0)
    assert nothing.nees is None and nothing.left_out == 50


@pytest.mark.parametrize(("how", "measured"), [("none", True), ("6dof", True), ("7dof", False), ("scale", False)])
def test_nees_of_a_trajectory_by_alignment(how, measured):
    truth = drive(300, np.random.default_rng(9))
    covariances = np.tile(np.diag(STD**2), (300, 1, 1))
    keys = np.arange(300)
    estimate = make_trajectory(keys, disturbed(truth, STD, 10), False, covariances=covariances)
    result = evaluate_odometry(make_trajectory(keys, truth, False), estimate, how, (50.0,))
    assert (result.nees is not None) == measured
    if measured:
        assert result.nees == pytest.approx(1, abs=0.15) and result.nees_left_out == 1


def test_a_motion_across_a_pose_that_does_not_count_is_left_out():
    truth = drive(30, np.random.default_rng(11))
    estimate = disturbed(truth, STD, 12)
    covariances = np.tile(np.diag(STD**2), (30, 1, 1))
    keys = np.arange(30)
    holed = make_trajectory(np.delete(keys, 12), np.delete(truth, 12, axis=0), False)
    result = evaluate_odometry(holed, make_trajectory(keys, estimate, False, covariances=covariances))
    assert result.nees_left_out == 2  # the first, and the one into 13
    keys[7] = 6  # a repeated key drops a pose, and tears the next one from the pose before it
    torn = make_trajectory(keys, estimate, False, covariances=covariances)
    assert torn.covariances is not None and len(torn) == 29
    assert np.isnan(torn.covariances).all(axis=(1, 2)).nonzero()[0].tolist() == [7]


def test_covariances_of_another_kind_are_refused():
    truth = drive(5, np.random.default_rng(13))
    with pytest.raises(EvaluationError, match=r"\(5, 6, 6\)"):
        make_trajectory(np.arange(5), truth, False, covariances=np.ones((4, 6, 6)))
    skewed = np.tile(np.eye(6), (5, 1, 1))
    skewed[2, 0, 1] = 0.5
    with pytest.raises(EvaluationError, match="symmetric"):
        make_trajectory(np.arange(5), truth, False, covariances=skewed)
