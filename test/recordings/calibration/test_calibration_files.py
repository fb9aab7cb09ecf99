"""Calibrations out of files of every tool, out of CameraInfo, and the errors that name what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.messages.camera_info import camera_from_info, info_fields
from featdepth_ros.recordings import parse_camera

MANAGER = """
image_width: 640
image_height: 480
camera_name: narrow
camera_matrix: {rows: 3, cols: 3, data: [430.2, 0, 306.7, 0, 430.5, 227.2, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.3376, 0.1115, -0.00011, 0.0017, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [345.1, 0, 305.4, 0, 0, 377.9, 222.8, 0, 0, 0, 1, 0]}
"""
EUROC = """%YAML:1.0
sensor_type: camera
resolution: [752, 480]
camera_model: pinhole
intrinsics: [458.654, 457.296, 367.215, 248.375] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05]
"""
KALIBR = """
cam0:
  camera_model: pinhole
  distortion_coeffs: [0.01, -0.02, 0.003, -0.004]
  distortion_model: equidistant
  intrinsics: [286.1, 286.2, 417.3, 404.4]
  resolution: [848, 800]
cam1:
  camera_model: pinhole
  distortion_coeffs: [0.0, 0.0, 0.0, 0.0]
  distortion_model: radtan
  intrinsics: [285.1, 285.2, 418.3, 405.4]
  resolution: [848, 800]
"""
OPENCV = """%YAML:1.0
---
image_width: 320
image_height: 240
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 200., 0., 160., 0., 201., 120., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 8
   dt: d
   data: [ 1., 2., 3., 4., 5., 6., 7., 8. ]
"""


def _file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    return str(path)


def test_camera_info_manager(tmp_path: Path) -> None:
    assert parse_camera(_file(tmp_path, MANAGER)) == CameraModel(
        640, 480, 430.2, 430.5, 306.7, 227.2, "plumb_bob", (-0.3376, 0.1115, -0.00011, 0.0017, 0.0),
        projection=(345.1, 377.9, 305.4, 222.8),
    )  # fmt: skip


def test_euroc(tmp_path: Path) -> None:
    assert parse_camera(_file(tmp_path, EUROC)) == CameraModel(
        752, 480, 458.654, 457.296, 367.215, 248.375, "plumb_bob",
        (-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05),
    )  # fmt: skip


def test_kalibr_and_its_second_camera(tmp_path: Path) -> None:
    file = _file(tmp_path, KALIBR)
    first = CameraModel(848, 800, 286.1, 286.2, 417.3, 404.4, "equidistant", (0.01, -0.02, 0.003, -0.004))
    assert parse_camera(file) == first
    assert parse_camera(f"{file}#cam1") == CameraModel(848, 800, 285.1, 285.2, 418.3, 405.4)
    with pytest.raises(CalibrationError, match="no camera 'cam2'; it has: cam0, cam1"):
        parse_camera(f"{file}#cam2")


def test_opencv_file(tmp_path: Path) -> None:
    camera = parse_camera(_file(tmp_path, OPENCV))
    assert (camera.distortion_model, camera.distortion) == ("rational_polynomial", (1, 2, 3, 4, 5, 6, 7, 8))


def test_plain_keys_and_numbers(tmp_path: Path) -> None:
    plain = _file(tmp_path, "fx: 1\nfy: 2\ncx: 3\ncy: 4\ndistortion_model: equidistant\ndistortion: [0, 0, 0, 0]\n")
    fisheye = CameraModel(10, 20, 1, 2, 3, 4, "equidistant", (0, 0, 0, 0))
    assert parse_camera(plain, (10, 20)) == fisheye  # zero coefficients are still a fisheye
    assert parse_camera(" 718.9, 718.9,607.2,185.2 ", (1241, 376)) == CameraModel(1241, 376, 718.9, 718.9, 607.2, 185.2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2,3", "has 3 numbers; expected four"),
        ("1,2,3,x", "neither a calibration file nor four numbers"),
        ("nowhere.yaml", "neither a calibration file nor four numbers"),
        ("-1,2,3,4", "focal lengths"),
        ("nan,2,3,4", "non-finite"),
    ],
)
def test_bad_text(text: str, words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        parse_camera(text, (640, 480))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [1", "is not YAML"),
        ("just text", "holds no calibration"),
        ("depth: 3", "no calibration found; expected camera_matrix"),
        (MANAGER.replace("430.2, 0,", "430.2,"), "camera_matrix has 8 numbers"),
        (MANAGER.replace("plumb_bob", "omni"), "distortion model 'omni' is not known"),
        (MANAGER.replace("0, 0, 1]}\ndist", "0, 0, one]}\ndist"), "malformed"),
        (EUROC.replace("camera_model: pinhole", "camera_model: omni"), "camera model 'omni'"),
        ("fx: 1\nfy: 2\ncx: 3\ncy: 4\n", "no image size"),
    ],
)
def test_bad_files(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        parse_camera(_file(tmp_path, content))


def _info(camera: CameraModel, **changes: object) -> SimpleNamespace:
    fields = info_fields(camera)
    x, y, height, width, rectify = fields.pop("roi")
    roi = SimpleNamespace(x_offset=x, y_offset=y, height=height, width=width, do_rectify=rectify)
    return SimpleNamespace(**{**fields, "roi": roi, **changes})


@pytest.mark.parametrize(
    "camera",
    [
        CameraModel(640, 480, 500.0, 501.0, 320.0, 240.0),
        CameraModel(640, 480, 500.0, 501.0, 320.0, 240.0, "plumb_bob", (0.1, 0.2, 0.0, 0.0, 0.3), roi=(8, 4, 320, 240)),
        CameraModel(640, 480, 500.0, 501.0, 320.0, 240.0, "equidistant", (0.0, 0.0, 0.0, 0.0), binning=(2, 2)),
        CameraModel(
            640, 480, 500.0, 501.0, 320.0, 240.0, "rational_polynomial", (0.1,) * 8,
            rectification=(0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0), projection=(400.0, 401.0, 300.0, 200.0),
        ),
    ],
)  # fmt: skip
def test_camera_info_round_trip(camera: CameraModel) -> None:
    assert camera_from_info(_info(camera)) == camera


def test_camera_info_of_drivers() -> None:
    camera = CameraModel(640, 480, 500.0, 501.0, 320.0, 240.0, "plumb_bob", (0.1, 0.0, 0.0, 0.0, 0.0))
    assert camera_from_info(_info(camera, k=[0.0] * 9)) is None  # REP-104: uncalibrated
    assert camera_from_info(_info(camera, width=0, height=0), image_size=(640, 480)) == camera
    assert camera_from_info(_info(camera, p=[0.0] * 12, r=[0.0] * 9, d=[], distortion_model="")) == replace(
        camera, distortion_model="none", distortion=()
    )
    rectified = camera_from_info(_info(replace(camera, projection=(400.0, 401.0, 300.0, 200.0))), rectified=True)
    assert rectified == CameraModel(640, 480, 400.0, 401.0, 300.0, 200.0)
    with pytest.raises(CalibrationError, match="D of the CameraInfo holds a non-finite value"):
        camera_from_info(_info(camera, d=[float("nan")] * 5))
    with pytest.raises(CalibrationError, match="distortion model 'ds'"):
        camera_from_info(_info(camera, distortion_model="ds"))
