"""Depth figures against numbers worked out by hand, and every rule of the protocol."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics import (
    DepthProtocol,
    crop_mask,
    depth_errors,
    evaluate_image,
    resize_inverse_depth,
    summarise_depth,
)


def test_figures_of_two_pixels_by_hand():
    # gt 2 and 4, predictions 3 and 4: differences 1 and 0; ratios 1.5 and 1.
    figures = depth_errors([2.0, 4.0], [3.0, 4.0])
    assert figures["abs_rel"] == pytest.approx(0.25)
    assert figures["sq_rel"] == pytest.approx(0.25)
    assert figures["rmse"] == pytest.approx(math.sqrt(0.5))
    assert figures["rmse_log"] == pytest.approx(math.log(1.5) / math.sqrt(2))
    assert (figures["a1"], figures["a2"], figures["a3"]) == (0.5, 1.0, 1.0)


def test_thresholds_are_strict_and_symmetric():
    figures = depth_errors([1.25, 1.0, 1.0, 10.0], [1.0, 1.25, 1.5625, 5.0])
    assert (figures["a1"], figures["a2"], figures["a3"]) == (0.0, 0.5, 0.75)


@pytest.mark.parametrize(("truth", "prediction"), [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([1.0], [np.nan])])
def test_depth_errors_refuses_what_has_no_answer(truth, prediction):
    with pytest.raises(EvaluationError):
        depth_errors(truth, prediction)


@pytest.mark.parametrize(
    ("crop", "rows", "columns"),
    # int(.40810811*375)=153, int(.99189189*375)=371, int(.03594771*1242)=44, int(.96405229*1242)=1197
    [("garg", (153, 371), (44, 1197)), ("eigen", (124, 342), (44, 1197)), ("none", (0, 375), (0, 1242))],
)
def test_crops_of_a_kitti_image(crop, rows, columns):
    expected = np.zeros((375, 1242), dtype=bool)
    expected[slice(*rows), slice(*columns)] = True
    assert np.array_equal(crop_mask((375, 1242), crop), expected)


def test_crop_of_an_nyu_image_is_eigens_rectangle():
    expected = np.zeros((480, 640), dtype=bool)
    expected[45:471, 41:601] = True
    assert np.array_equal(crop_mask((480, 640), "nyu"), expected)


def test_limits_are_strict_and_predictions_are_clamped_after_scaling():
    truth = np.array([[1.0, 80.0, 1e-3, 40.0]])  # the two in the middle lie on the limits and do not count
    prediction = np.array([[1e-9, 7.0, 7.0, 1000.0]])
    image = evaluate_image(prediction, truth, DepthProtocol())
    assert image is not None and image.pixels == 2
    assert image.abs_rel == pytest.approx(((1 - 1e-3) + (80 - 40) / 40) / 2)


def test_median_scaling_leaves_no_scale_and_reports_the_ratio():
    truth = np.random.default_rng(1).uniform(2, 50, (20, 30))
    image = evaluate_image(truth / 36, truth, DepthProtocol(scale="median"))
    assert image is not None
    assert image.scale == pytest.approx(36) and image.abs_rel == pytest.approx(0, abs=1e-12)


def test_a_factor_is_applied_and_the_ratio_is_reported_before_it():
    truth = np.full((4, 4), 10.0)
    image = evaluate_image(truth / 40, truth, DepthProtocol(scale=36.0))
    assert image is not None
    assert image.scale == pytest.approx(40) and image.abs_rel == pytest.approx(0.1)


def test_means_are_over_images_not_pixels():
    small = evaluate_image(np.full((1, 1), 2.0), np.full((1, 1), 1.0), DepthProtocol(), "a")
    large = evaluate_image(np.full((10, 10), 1.0), np.full((10, 10), 1.0), DepthProtocol(), "b")
    assert small is not None and large is not None
    summary = summarise_depth([small, large])
    assert summary.abs_rel == pytest.approx(0.5) and (summary.frames, summary.pixels) == (2, 101)
    assert summary.scale_median == pytest.approx(0.75)
    assert summary.scale_std == pytest.approx(np.std(np.array([0.5, 1.0]) / 0.75))


def test_resize_is_what_opencv_does_to_disparity():
    depth = np.random.default_rng(2).uniform(1, 30, (24, 80))
    expected = 1 / cv2.resize(1 / depth, (155, 47), interpolation=cv2.INTER_LINEAR)
    assert np.allclose(resize_inverse_depth(depth, (47, 155)), expected, rtol=1e-5)
    smaller = 1 / cv2.resize(1 / depth, (33, 10), interpolation=cv2.INTER_LINEAR)
    assert np.allclose(resize_inverse_depth(depth, (10, 33)), smaller, rtol=1e-5)


def test_a_hole_in_a_small_prediction_reaches_only_pixels_that_lean_on_it():
    depth = np.ones((4, 4))
    depth[0, 0] = np.inf
    resized = resize_inverse_depth(depth, (8, 8))
    assert np.isnan(resized[0, 0]) and not np.isnan(resized[3:, 3:]).any()
    assert np.nanmax(np.abs(resized - 1)) < 1e-12


def test_non_finite_predictions_are_refused_with_name_and_count():
    truth, prediction = np.full((3, 3), 5.0), np.full((3, 3), 5.0)
    prediction[0] = [np.nan, np.inf, -np.inf]
    with pytest.raises(EvaluationError, match=r"frame7\.npy: 3 predictions"):
        evaluate_image(prediction, truth, DepthProtocol(), "frame7.npy")
    truth[0] = 0  # where truth is unknown they do not matter
    assert evaluate_image(prediction, truth, DepthProtocol()) is not None


def test_non_finite_predictions_can_be_skipped_and_are_counted():
    prediction = np.array([[np.nan, 4.0]])
    image = evaluate_image(prediction, np.array([[5.0, 5.0]]), DepthProtocol(skip_invalid=True))
    assert image is not None
    assert (image.pixels, image.skipped) == (1, 1) and image.abs_rel == pytest.approx(0.2)


def test_no_valid_pixel_has_no_figures():
    assert evaluate_image(np.ones((2, 2)), np.zeros((2, 2)), DepthProtocol()) is None
    with pytest.raises(EvaluationError, match="no image has a pixel"):
        summarise_depth([])


def test_a_constant_prediction_is_judged_like_any_other():
    image = evaluate_image(np.full((1, 2), 7.0), np.array([[1.0, 3.0]]), DepthProtocol(scale="median"))
    assert image is not None
    assert image.abs_rel == pytest.approx((1.0 + 1 / 3) / 2)


def test_median_scaling_of_a_prediction_without_depth_is_refused():
    with pytest.raises(EvaluationError, match=r"dark: .*median scaling"):
        evaluate_image(np.zeros((2, 2)), np.ones((2, 2)), DepthProtocol(scale="median"), "dark")
    image = evaluate_image(np.zeros((2, 2)), np.ones((2, 2)), DepthProtocol())
    assert image is not None and image.scale is None
    assert summarise_depth([image]).scale_median is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_depth": 0.0},
        {"max_depth": 1e-4},
        {"crop": "centre"},
        {"scale": "mean"},
        {"scale": -1.0},
        {"scale": math.nan},
    ],
)
def test_protocols_that_make_no_sense_are_refused(wrong):
    with pytest.raises(EvaluationError):
        DepthProtocol(**wrong)
