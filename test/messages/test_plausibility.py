"""Calibrations that no camera has: refused in words, and those that some camera has, taken."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from message_fields import info_message

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import names_rectified
from featdepth_ros.messages.plausibility import implausible, usable_camera

HALF_TURN = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0)
MIRROR = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("camera", "says"),
    [
        (CameraModel(640, 192, 0.58, 1.92, 0.5, 0.5), "fractions of the image.* are 371.2,368.64,320,96$"),
        (CameraModel(128, 96, 800, 800, 640, 360), "principal point lies outside"),
        (CameraModel(640, 480, 500, 500, 320, 700), "principal point lies outside"),
        (CameraModel(640, 480, 20, 20, 320, 240), "image widths"),
        (CameraModel(640, 480, 500, 14_000, 320, 240), "image widths"),
        (CameraModel(640, 480, 500, 500, 320, 240, projection=(50.0, 50.0, 320.0, 240.0)), "P contradicts K"),
        (CameraModel(640, 480, 500, 500, 320, 240, projection=(500.0, 500.0, 2000.0, 240.0)), "P contradicts K"),
        (CameraModel(640, 480, 500, 500, 320, 240, rectification=MIRROR), "mirrors"),
        (CameraModel(640, 480, 500, 500, 320, 240, rectification=HALF_TURN), "turns the camera over"),
    ],
)
def test_implausible_ones_are_told_with_the_reason(camera: CameraModel, says: str) -> None:
    reason = implausible(camera)
    assert reason is not None
    with pytest.raises(ValueError, match=says):
        raise ValueError(reason)
    info = info_message(camera)
    assert usable_camera(info) == (None, reason)  # a driver's message: as one of an uncalibrated camera


@pytest.mark.parametrize(
    ("k", "says"),
    [
        ((500.0, 0.0, 0.0, 0.0, 500.0, 0.0, 320.0, 240.0, 1.0), "is K written column by column"),
        ((500.0, 50.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0), "K has a skew, 50 and 0 px"),
        ((500.0, 0.4, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0), ""),
        ((500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 0.0), ""),  # some drivers leave the last one out
    ],
)
def test_a_k_that_is_no_matrix_of_a_camera_counts_as_none(k: tuple[float, ...], says: str) -> None:
    info = info_message(CameraModel(640, 480, 500, 500, 320, 240))
    info.k = np.array(k)
    camera, reason = usable_camera(info)
    assert says in reason and (camera is None) == bool(says)
    rectified, reason = usable_camera(info, rectified=True)
    assert rectified is not None and not reason, "P is the camera of a rectified image"


@pytest.mark.parametrize(
    "camera",
    [
        CameraModel(1242, 375, 721.5, 721.5, 609.6, 172.9),  # KITTI
        CameraModel(1242, 188, 721.5, 721.5, 609.6, 172.9),  # cut below the horizon
        CameraModel(848, 800, 286.1, 286.2, 417.3, 404.4, "equidistant", (0.01, -0.02, 0.003, -0.004)),
        CameraModel(640, 480, 6000.0, 6000.0, 320.0, 240.0),  # a long lens
        CameraModel(640, 480, 500, 500, 320, 240, projection=(400.0, 400.0, -60.0, 240.0)),
        CameraModel(8, 8, 5.0, 5.0, 3.5, 3.5),
        CameraModel(640, 480, 500, 500, 320, 240, roi=(600, 440, 40, 40)),
    ],
)
def test_cameras_that_there_are_pass(camera: CameraModel) -> None:
    assert implausible(camera) is None
    assert usable_camera(info_message(camera)) == (camera, "")


def test_the_calibration_of_other_images_counts_as_none() -> None:
    camera = CameraModel(640, 480, 500, 500, 320, 240, binning=(2, 2))
    assert usable_camera(info_message(camera), image_size=(320, 240)) == (camera, "")
    found, reason = usable_camera(info_message(camera), image_size=(640, 480))
    assert found is None and reason == "the images are 640x480 pixels, the calibration is for 320x240"


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        ({"k": (math.nan, 0.0, 31.5, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0)}, "K of the CameraInfo holds a non-finite value"),
        ({"k": (60.0, 0.0, math.inf, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0)}, "K of the CameraInfo holds a non-finite value"),
        ({"d": (math.nan,) * 5}, "D of the CameraInfo holds a non-finite value"),
        ({"d": (0.1, -math.inf, 0.0, 0.0)}, "D of the CameraInfo holds a non-finite value"),
        ({"r": (math.nan,) * 9}, "R of the CameraInfo holds a non-finite value"),
        ({"p": (math.nan,) * 12}, "P of the CameraInfo holds a non-finite value"),
        ({"p": (-60.0, 0.0, 31.5, 0.0, 0.0, 60.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0)}, "p has focal lengths"),
        ({"distortion_model": "plum_bob", "d": (0.1, 0.0, 0.0, 0.0)}, "did you mean 'plumb_bob'"),
        ({"distortion_model": "omni", "d": (0.1, 0.0, 0.0, 0.0)}, "distortion model 'omni' is not known"),
        ({"distortion_model": "", "d": (0.1, 0.0, 0.0, 0.0)}, "no distortion model is named"),
        ({"distortion_model": "equidistant", "d": ()}, "without coefficients"),
        ({"d": (0.1, 0.2, 0.3)}, "has 3 coefficients; expected 4 or 5"),
        ({"distortion_model": "equidistant", "d": (0.1,) * 5}, "has 5 coefficients; expected 4"),
        ({"roi": SimpleNamespace(x_offset=60, y_offset=0, width=50, height=10, do_rectify=False)}, "outside the 64x48"),
        ({"r": (0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, "rotation"),
    ],
)
def test_a_malformed_message_counts_as_uncalibrated_in_words(spoilt: dict[str, Any], says: str) -> None:
    info = info_message(CameraModel(64, 48, 60.0, 60.0, 31.5, 23.5), **spoilt)
    camera, reason = usable_camera(info, image_size=(64, 48))
    assert camera is None and says in reason, reason


def test_what_d_and_r_say_of_a_rectified_image_does_not_matter() -> None:
    camera = CameraModel(64, 48, 60.0, 60.0, 31.5, 23.5)
    for spoilt in ({"d": (math.nan,) * 5}, {"distortion_model": "omni", "d": (0.1,) * 3}, {"r": (math.nan,) * 9}):
        assert usable_camera(info_message(camera, **spoilt), rectified=True) == (camera, "")


@pytest.mark.parametrize("k", [(-60.0, 60.0), (60.0, 0.0), (60.0, -60.0)])
def test_focal_lengths_that_are_not_above_zero_count_as_uncalibrated(k: tuple[float, float]) -> None:
    info = info_message(CameraModel(64, 48, 60.0, 60.0, 31.5, 23.5))
    info.k = np.array([k[0], 0.0, 31.5, 0.0, k[1], 23.5, 0.0, 0.0, 1.0])
    camera, reason = usable_camera(info, image_size=(64, 48))
    assert camera is None and "focal lengths" in reason


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [
        ("/cam/image_rect", True),
        ("/cam/image_rect_color/compressed", True),
        ("/cam/rectified_left", True),
        ("/cam/infra1/image_rect_raw", True),
        ("/cam/image_raw", False),
        ("/cam/image_unrectified", False),
        ("/cam/image_direct/compressed", False),
        ("/direct_cam/color", False),
        ("/rect/image_raw", False),
    ],
)
def test_names_of_rectified_images(topic: str, rectified: bool) -> None:
    assert names_rectified(topic) == rectified
