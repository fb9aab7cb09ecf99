"""Lens models against OpenCV, and the meaning of ROI and binning."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry.cameras import FISHEYE_HALF_VIEW_DEG, CameraModel
from featdepth_ros.geometry.distortion import radial_limit

EUROC = (-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05)
TUM = (0.262383, -0.953104, -0.005358, 0.002628, 1.163314)
RATIONAL = (0.42, 0.08, 1e-3, -5e-4, 0.01, 0.78, 0.16, 0.02)
THIN_PRISM = (*RATIONAL, 1e-3, -2e-4, 5e-4, 1e-4)
TILTED = (*THIN_PRISM, 0.02, -0.03)
T265 = (-0.0034, 0.0426, -0.0406, 0.0071)


def camera(model: str, coefficients: tuple[float, ...]) -> CameraModel:
    if model == "equidistant":
        return CameraModel(848, 800, 286.2, 286.4, 417.6, 402.1, "equidistant", coefficients)
    return CameraModel(752, 480, 458.654, 457.296, 367.215, 248.375, model, coefficients)  # type: ignore[arg-type]


BROWN = [
    ("none", ()),
    ("plumb_bob", EUROC),
    ("plumb_bob", TUM),
    ("rational_polynomial", RATIONAL),
    ("rational_polynomial", THIN_PRISM),
    ("rational_polynomial", TILTED),
]


@pytest.mark.parametrize(("model", "coefficients"), BROWN)
def test_projection_equals_opencv(model: str, coefficients: tuple[float, ...]) -> None:
    points = np.random.default_rng(0).uniform([-1.5, -1, 1.5], [1.5, 1, 8], (500, 3))
    lens = camera(model, coefficients)
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), lens.K, np.array(coefficients or (0.0,) * 4))
    np.testing.assert_allclose(lens.project(points), expected[:, 0], rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        lens.distort(points[:, :2] / points[:, 2:]) * (lens.fx, lens.fy) + (lens.cx, lens.cy),
        expected[:, 0],
        rtol=0,
        atol=1e-8,
    )


def test_fisheye_projection_equals_opencv() -> None:
    points = np.random.default_rng(1).uniform([-3, -3, 0.5], [3, 3, 4], (500, 3))
    lens = camera("equidistant", T265)
    expected, _ = cv2.fisheye.projectPoints(points[None], np.zeros(3), np.zeros(3), lens.K, np.array(T265))
    np.testing.assert_allclose(lens.project(points), expected[0], rtol=0, atol=1e-8)
    normalised = points[:, :2] / points[:, 2:]
    distorted = cv2.fisheye.distortPoints(normalised[None], np.eye(3), np.array(T265))
    np.testing.assert_allclose(lens.distort(normalised), distorted[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("model", "coefficients"), [*BROWN, ("equidistant", T265), ("equidistant", (0.0,) * 4)])
def test_unproject_inverts_project_over_the_whole_image(model: str, coefficients: tuple[float, ...]) -> None:
    lens = camera(model, coefficients)
    u, v = np.meshgrid(np.linspace(0, lens.width - 1, 41), np.linspace(0, lens.height - 1, 31))
    pixels = np.stack([u, v], -1)
    rays = lens.unproject(pixels)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1.0, atol=1e-12)
    np.testing.assert_allclose(lens.project(rays), pixels, rtol=0, atol=1e-7)
    assert lens.sees(rays).all()


def test_fisheye_rays_reach_behind_ninety_degrees() -> None:
    lens = CameraModel(1000, 1000, 200.0, 200.0, 499.5, 499.5, "equidistant", (0.0, 0.0, 0.0, 0.0))
    ray = lens.unproject(np.array([[499.5 + 200.0 * 2.0, 499.5]]))[0]
    np.testing.assert_allclose(ray, [np.sin(2.0), 0.0, np.cos(2.0)], atol=1e-9)
    np.testing.assert_allclose(lens.project(ray), [899.5, 499.5], atol=1e-7)


def test_directions_beyond_the_lens_models_range_are_not_seen() -> None:
    lens = camera("plumb_bob", (-0.3, 0.0, 0.0, 0.0))
    limit = radial_limit(lens.distortion_model, lens.distortion)
    assert abs(limit - (1 / 0.9) ** 0.5) < 0.01  # r (1 - 0.3 r^2) turns back there
    folded = np.array([[x, 0.0, 1.0] for x in np.linspace(limit * 1.02, 4.0, 50)])
    on_image = np.abs(lens.project(folded)[:, 0] - 375.5) <= 376
    assert on_image.any(), "the formula alone would have accepted some"
    assert not lens.sees(folded).any()
    assert not lens.sees(np.array([0.0, 0.0, -1.0]))


def test_pixels_outside_the_lens_models_range_get_its_edge() -> None:
    lens = camera("plumb_bob", (-0.4, 0.0, 0.0, 0.0))
    rays = lens.unproject(np.array([[-4000.0, 248.0], [9000.0, 9000.0]]))
    assert np.isfinite(rays).all()
    assert (rays[:, 2] > 0).all()


def test_roi_is_cut_before_binning() -> None:
    whole = camera("plumb_bob", EUROC)
    cut = CameraModel(
        752, 480, whole.fx, whole.fy, whole.cx, whole.cy, "plumb_bob", EUROC, roi=(100, 60, 400, 300), binning=(2, 2)
    )
    assert cut.delivered_size == (200, 150)
    rays = np.array([[0.1, -0.05, 1.0]])
    full = whole.project(rays)
    # a binned pixel is a block of four: block (0, 0) has its centre at (100.5, 60.5) of the full image
    np.testing.assert_allclose(cut.project(rays), (full - (100.5, 60.5)) / 2)
    np.testing.assert_allclose(cut.unproject(cut.project(rays)), rays / np.linalg.norm(rays), atol=1e-10)
    view = cut.delivered_view
    assert (view.width, view.height) == (200, 150)
    assert view.fx == pytest.approx(whole.fx / 2)
    assert view.cx == pytest.approx((whole.cx - 100.5) / 2)
    assert view.cy == pytest.approx((whole.cy - 60.5) / 2)


def test_roi_without_binning_is_image_geometrys_shift() -> None:
    cut = CameraModel(640, 480, 500.0, 500.0, 320.0, 240.0, roi=(10, 20, 320, 240))
    assert (cut.delivered_view.cx, cut.delivered_view.cy) == (310.0, 220.0)


def test_rectified_is_p_then_k() -> None:
    assert camera("plumb_bob", EUROC).rectified.fx == 458.654
    with_p = CameraModel(
        752, 480, 458.0, 457.0, 367.0, 248.0, "plumb_bob", EUROC, projection=(430.0, 431.0, 360.0, 240.0)
    )
    assert (with_p.rectified.fx, with_p.rectified.cy, with_p.rectified.is_pinhole) == (430.0, 240.0, True)


@pytest.mark.parametrize("focal", [286.0, 150.0, 900.0])
def test_fisheye_without_p_gets_a_bounded_view(focal: float) -> None:
    lens = CameraModel(848, 800, focal, focal, 423.5, 399.5, "equidistant", T265)
    view = lens.rectified
    half = np.degrees(np.arctan(424 / view.fx))
    assert half <= FISHEYE_HALF_VIEW_DEG + 1e-9
    assert view.fx == pytest.approx(focal if focal == 900.0 else 424 / np.tan(np.radians(FISHEYE_HALF_VIEW_DEG)))
    assert view.fx == pytest.approx(view.fy)


@pytest.mark.parametrize(
    "change",
    [
        {"roi": (600, 0, 400, 100)},
        {"rectification": (2.0, 0, 0, 0, 1, 0, 0, 0, 1)},
        {"projection": (0.0, 400.0, 1.0, 1.0)},
        {"projection": (float("nan"), 400.0, 1.0, 1.0)},
        {"binning": (0, 1)},
        {"distortion_model": "fov"},
        {"distortion": (0.1,)},
    ],
)
def test_malformed_calibrations_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(CalibrationError):
        CameraModel(752, 480, 458.0, 457.0, 367.0, 248.0, **change)  # type: ignore[arg-type]
